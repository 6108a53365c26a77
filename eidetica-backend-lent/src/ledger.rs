//! Who has committed, so that everybody is told of the commits of the others and of no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Everybody who may commit to a store.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Members>);

#[derive(Default)]
struct Members {
    next: u64,
    all: BTreeMap<u64, Standing>,
}

/// How one of them stands.
#[derive(Default)]
struct Standing {
    /// What [`Member::changed`] has answered last, plus one for each commit of another since.
    changed: u64,
    /// Commits of this one that have begun and may take effect at any moment.
    under_way: u64,
}

/// One who may commit.
pub(crate) struct Member {
    ledger: Arc<Ledger>,
    number: u64,
}

/// A commit that has begun. Dropping it without [`end`](Commit::end) means that nobody knows whether and when it takes effect:
/// it then counts as under way for ever.
pub(crate) struct Commit(Arc<Member>);

impl Ledger {
    pub(crate) fn join(self: &Arc<Self>) -> Arc<Member> {
        let mut members = self.members();
        members.next += 1;
        let number = members.next;
        members.all.insert(number, Standing::default());
        Arc::new(Member { ledger: self.clone(), number })
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// A number that differs from an earlier answer if somebody else may have committed in between. While somebody else
    /// commits, every answer is a new one: the commit may be visible from any moment on.
    pub(crate) fn changed(&self) -> u64 {
        let mut members = self.ledger.members();
        let busy = members.all.iter().any(|(number, other)| *number != self.number && other.under_way > 0);
        members.all.get_mut(&self.number).map_or(0, |own| {
            own.changed += u64::from(busy);
            own.changed
        })
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Commit {
        if let Some(own) = self.ledger.members().all.get_mut(&self.number) {
            own.under_way += 1;
        }
        Commit(self.clone())
    }
}

impl Commit {
    /// The store has answered: what it did is visible, or never will be.
    pub(crate) fn end(self) {
        let mut members = self.0.ledger.members();
        for (number, one) in &mut members.all {
            match *number == self.0.number {
                true => one.under_way -= 1,
                false => one.changed += 1,
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.ledger.members();
        // What it has begun and not seen the end of may still take effect at any time: it stays on the list, as committing.
        if members.all.get(&self.number).is_some_and(|own| own.under_way == 0) {
            members.all.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_of_the_others_alone() {
        let ledger = Arc::new(Ledger::default());
        let (one, other) = (ledger.join(), ledger.join());
        let (before, there) = (one.changed(), other.changed());
        one.begin().end();
        assert_eq!(one.changed(), before);
        assert_ne!(other.changed(), there);
    }

    #[test]
    fn nothing_is_the_same_while_somebody_else_commits() {
        let ledger = Arc::new(Ledger::default());
        let (one, other) = (ledger.join(), ledger.join());
        let commit = one.begin();
        let seen = [other.changed(), other.changed(), other.changed()];
        assert!(seen[0] < seen[1] && seen[1] < seen[2], "{seen:?}");
        assert_eq!(one.changed(), one.changed());
        commit.end();
        assert_ne!(other.changed(), seen[2]);
        assert_eq!(other.changed(), other.changed());
    }

    #[test]
    fn a_commit_whose_end_nobody_saw_stays_under_way() {
        let ledger = Arc::new(Ledger::default());
        let (one, other) = (ledger.join(), ledger.join());
        drop(one.begin());
        assert_ne!(other.changed(), other.changed());
        drop(one);
        assert_ne!(other.changed(), other.changed());
    }
}
