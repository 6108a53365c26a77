//! A kind of store of its own: a poll in which the latest vote of each voter counts. In two terminals:
//!
//! ```text
//! cargo run -p eidetica-examples --bin poll -- sqlite:anna.db
//! cargo run -p eidetica-examples --bin poll -- sqlite:ben.db 'eidetica:…'   (the ticket that the first one shows)
//! ```
//!
//! Then type what you are for; Ctrl-D ends.
//!
//! A kind is a join of states: whatever votes came in, and in whatever order, the join of them is the same. Peers without this program keep
//! and pass on what is in the store without understanding it.

mod shared;

use std::collections::BTreeMap;
use std::error::Error;

use eidetica::store::{Lattice, Semilattice};
use eidetica::{Database, Result};
use serde::{Deserialize, Serialize};

/// Where the one state of this poll lies.
const QUESTION: &str = "what do we do tonight?";

/// Of each voter how often they have voted, and for what. (Who may write here could write for others, too: a poll among people who do not
/// trust each other has to look at who has signed the entry.)
#[derive(Default, Serialize, Deserialize)]
pub struct Ballots(BTreeMap<String, (u64, String)>);

impl Ballots {
    /// Somebody votes, for the first time or again.
    pub fn cast(&mut self, voter: &str, choice: &str) {
        let times = self.0.get(voter).map_or(0, |(times, _)| *times);
        self.0.insert(voter.to_owned(), (times.saturating_add(1), choice.to_owned()));
    }
}

impl Semilattice for Ballots {
    const KIND: &'static str = "example.ballots";

    /// Of each voter the latest vote stays. If somebody has voted on two devices apart, the greater text does: any rule will do by which all
    /// come to the same.
    fn join(&mut self, other: Self) {
        for (voter, vote) in other.0 {
            let ours = self.0.entry(voter).or_default();
            if vote > *ours {
                *ours = vote;
            }
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

async fn show(database: &Database) -> Result<String> {
    let ballots = database.get_store_viewer::<Lattice<Ballots>>("poll").await?.get(QUESTION).await?;
    let mut votes = BTreeMap::<&str, usize>::new();
    ballots.0.values().for_each(|(_, choice)| *votes.entry(choice).or_default() += 1);
    let lines: String = votes.iter().map(|(choice, count)| format!("  {count} for {choice}\n")).collect();
    Ok(format!("{QUESTION}\n{lines}"))
}

async fn act(database: &Database, typed: &str) -> Result<()> {
    let Some(voter) = database.author().filter(|_| !typed.is_empty()) else { return Ok(()) };
    let transaction = database.new_transaction().await?;
    let poll = transaction.get_store::<Lattice<Ballots>>("poll").await?;
    poll.update(QUESTION, |ballots| ballots.cast(&voter.to_string(), typed)).await?;
    transaction.commit().await.map(drop)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    shared::open("poll").await?.follow(show, act).await
}
