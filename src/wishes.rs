//! What all users of a store together wish for a database.
//!
//! Sync goes by this, and by nothing else of users: nobody has to be logged in.

use std::collections::BTreeMap;

use eidetica_contract::Result;
use eidetica_core::{Engine, Id};
use tokio::sync::watch;

use crate::Instance;
use crate::user::{TRACKED, TrackedRow};

/// What all users together wish for a database: whatever one of them wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wishes {
    /// Whether somebody wants it synced.
    pub sync_enabled: bool,
    /// Whether somebody who wants it synced wants every commit sent at once.
    pub sync_on_commit: bool,
    /// The shortest interval of those who want it synced.
    pub interval_seconds: Option<u64>,
}

impl Instance {
    /// What the users of this store wish for a database; `None` if nobody tracks it. True for all users, whether they have
    /// logged in since the start or not.
    pub async fn wishes(&self, database: &Id) -> Result<Option<Wishes>> {
        Ok(wishes_below(self.engine(), &format!("{TRACKED}{database}/")).await?.remove(database))
    }

    /// What the users of this store wish, for each database that somebody tracks.
    pub async fn all_wishes(&self) -> Result<BTreeMap<Id, Wishes>> {
        all_wishes(self.engine()).await
    }

    /// Tells when wishes may have changed in this process: whoever waits for a change then reads again. Other processes on
    /// the same store are not heard.
    pub fn wishes_changed(&self) -> watch::Receiver<u64> {
        self.wishes_bell().subscribe()
    }

    pub(crate) fn wishes_have_changed(&self) {
        self.wishes_bell().send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

/// What the users of a store wish, for each database that somebody tracks.
pub(crate) async fn all_wishes(engine: &Engine) -> Result<BTreeMap<Id, Wishes>> {
    wishes_below(engine, TRACKED).await
}

/// The same for sync, which goes on for all others if the row of one is damaged: that one counts as not wished.
#[cfg(feature = "sync")]
pub(crate) async fn readable_wishes(engine: &Engine) -> Result<BTreeMap<Id, Wishes>> {
    let mut all = BTreeMap::<Id, Wishes>::new();
    for (name, row) in engine.locals(TRACKED).await? {
        if let (Ok((database, _)), Ok(row)) = (TrackedRow::parts(&name), TrackedRow::parse(&row)) {
            all.entry(database).or_default().add(&row);
        }
    }
    Ok(all)
}

async fn wishes_below(engine: &Engine, prefix: &str) -> Result<BTreeMap<Id, Wishes>> {
    let mut all = BTreeMap::<Id, Wishes>::new();
    for (name, row) in engine.locals(prefix).await? {
        let (database, _) = TrackedRow::parts(&name)?;
        all.entry(database).or_default().add(&TrackedRow::parse(&row)?);
    }
    Ok(all)
}

impl Wishes {
    fn add(&mut self, one: &TrackedRow) {
        if !one.sync_enabled {
            return;
        }
        self.sync_enabled = true;
        self.sync_on_commit |= one.sync_on_commit;
        self.interval_seconds = self.interval_seconds.into_iter().chain(one.interval_seconds).min();
    }
}
