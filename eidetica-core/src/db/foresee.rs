//! What a transaction would take away and give back, before it is committed.

use std::collections::BTreeMap;

use eidetica_contract::{PublicKey, Result};

use super::entries::entry_at;
use super::transaction::{Commitment, Transaction};
use super::work::Work;
use crate::auth::{Right, Subject};
use crate::dag::Numbers;

/// What a commit would change for others, as far as it can be told from what is here: entries that have not arrived yet are
/// struck, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Foreseen {
    /// How many entries that are here would count no longer, by their authors.
    pub struck: BTreeMap<PublicKey, u64>,
    /// How many would count again.
    pub lifted: BTreeMap<PublicKey, u64>,
    /// Whose right would be another one, by subject.
    pub rights: Vec<RightChange>,
    /// True if no admin would be left: nobody could change a right any more, ever.
    pub leaves_no_admin: bool,
}

/// A right of a key, or of everybody, that a commit would change: what was granted and limited for this subject alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RightChange {
    /// Whose.
    pub subject: Subject,
    /// What it is now.
    pub before: Right,
    /// What it would be.
    pub after: Right,
}

impl Transaction {
    /// What the commit would change for others: entries that it would strike or lift, and rights. Nothing is written, and the
    /// transaction can still be committed; what comes in meanwhile may make a difference.
    ///
    /// The cost is that of the commit, in time and in memory.
    ///
    /// Errors: those that the commit would answer, but for those of a flush. Cancellation: nothing has changed.
    pub async fn foresee(&self) -> Result<Foreseen> {
        let mut foreseen = Foreseen::default();
        let Some(intent) = self.intended()? else { return Ok(foreseen) };
        // The second attempt of a group looks at the rows and relies on nothing that is known.
        let mut work = Work::begin(&self.state.core, 1).await?;
        let (rights, void) = (work.state.all_rights(None), work.state.marks.void.clone());
        if let Commitment::Refused(error) = intent.happen(&mut work, false).await? {
            return Err(error);
        }
        foreseen.struck = authors(&work, &work.state.marks.void.difference(&void)).await?;
        foreseen.lifted = authors(&work, &void.difference(&work.state.marks.void)).await?;
        let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (rights.into_iter().collect(), work.state.all_rights(None).into_iter().collect());
        let subjects: std::collections::BTreeSet<&Subject> = before.keys().chain(after.keys()).collect();
        let has_admin = |rights: &BTreeMap<Subject, Right>| rights.values().any(|right| *right >= Right::admin(0));
        foreseen.leaves_no_admin = has_admin(&before) && !has_admin(&after);
        for subject in subjects {
            let right = |rights: &BTreeMap<Subject, Right>| rights.get(subject).copied().unwrap_or(Right::NONE);
            let (before, after) = (right(&before), right(&after));
            if before != after {
                foreseen.rights.push(RightChange { subject: *subject, before, after });
            }
        }
        Ok(foreseen)
    }
}

async fn authors(work: &Work<'_>, numbers: &Numbers) -> Result<BTreeMap<PublicKey, u64>> {
    let mut authors = BTreeMap::new();
    for number in numbers.iter() {
        let author = entry_at(&work.rows, work.core.number, number).await?.entry.header().author;
        *authors.entry(author).or_default() += 1;
    }
    Ok(authors)
}
