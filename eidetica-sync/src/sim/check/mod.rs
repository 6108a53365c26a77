//! What must hold of a database at any time, for a scenario to look at after each step.
//!
//! [`history`] and [`rows`] are found out again from the entries alone, by other ways than those of the engine. [`fresh`] has the
//! engine itself go another way to the same, and [`all`] has it look for damage as well. What does not hold is an error of the kind
//! [`ErrorKind::Corrupted`], whose message and context say what. Nobody may write meanwhile. The cost is that of the whole history,
//! and of its square for [`rows`].

mod documents;
mod fresh;
mod history;
mod ledger;
mod replay;
mod rows;
mod shown;

use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::Database;

use super::dice::Dice;

pub use fresh::fresh;
pub use history::history;
pub use ledger::Ledger;
pub use replay::rows;
pub use shown::{Shown, shown};

/// All that can be said of one database: [`history`], [`rows`], [`fresh`], and what [`Database::verify`] finds.
///
/// Errors: `Corrupted` for what does not hold; those of the database.
pub async fn all(database: &Database, dice: &mut Dice) -> Result<()> {
    history(database).await?;
    let report = database.verify().await?;
    if !report.is_clean() {
        return Err(broken("the database is damaged").with("summary", format!("{:?}", report.summary())));
    }
    rows(database).await?;
    fresh(database, dice).await
}

/// Replicas hold the same entries, and show the same.
///
/// Errors: `Corrupted` for what differs first, with the places of the two replicas; those of the databases.
pub async fn converged(replicas: &[&Database]) -> Result<()> {
    let Some((first, others)) = replicas.split_first() else { return Ok(()) };
    let expected = shown(first).await?;
    for (at, other) in others.iter().enumerate() {
        expected.compare(&shown(other).await?).map_err(|error| error.with("replica", at + 1))?;
    }
    Ok(())
}

fn broken(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupted, message)
}

/// An error unless the condition holds.
fn ensure(holds: bool, message: &'static str, what: impl std::fmt::Debug) -> Result<()> {
    if holds { Ok(()) } else { Err(broken(message).with("what", format!("{what:?}"))) }
}
