//! Checking which entries count, and which are live.

use eidetica_contract::{ErrorKind, Result};

use super::as_of::need_of;
use super::check::Check;
use super::entries::{StoredEntry, entry_at};
use super::marks::Marks;
use super::meta::Tip;
use crate::auth::{Case, Rights};
use crate::dag::{Numbers, Seen};
use crate::layout::trailing_number;
use crate::store::applier::Pages;

impl Check<'_> {
    /// Judges every entry anew by all settings entries, and compares what follows with what is written down: the marks of void
    /// entries, and the heads.
    pub(super) async fn live(&mut self, rights: &Rights) -> Result<()> {
        match self.compare_live(rights).await {
            // What is damaged has been said of the entry itself.
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                self.problem("which entries are live cannot be told", None, false);
                Ok(())
            }
            other => other,
        }
    }

    async fn compare_live(&mut self, rights: &Rights) -> Result<()> {
        let next = self.next;
        let void = match rights.may_strike() {
            true => self.void(rights, next).await?,
            false => Numbers::default(),
        };
        let mut heads = Vec::new();
        let mut live = Seen::nothing();
        // From the latest on: what counts and is below no other that counts is a head.
        let mut left = Seen::new(next, &void).numbers();
        while let Some(number) = left.last() {
            let seen = self.graph.seen_by(self.rows, number).await?;
            left = left.difference(&seen.numbers());
            live = live.union(&seen);
            heads.push(number);
        }
        let marks = Marks { void, dead: live.missing_before(next) };
        if marks != self.marks {
            self.problem("what is written down of void entries is not what the settings say", None, true);
        }
        let mut tips = Vec::new();
        for number in heads {
            let entry = entry_at(self.rows, self.core.number, number).await?.entry;
            tips.push(Tip { id: entry.id(), number, height: entry.header().height, time: entry.header().time });
        }
        tips.sort_by_key(|tip| tip.id);
        if self.meta.as_ref().is_some_and(|meta| meta.tips != tips) {
            self.problem("the heads are not the live entries that nothing is above", None, true);
        }
        Ok(())
    }

    async fn void(&self, rights: &Rights, next: u64) -> Result<Numbers> {
        let core = self.core;
        let all = Seen::all_before(next);
        let mut void: Vec<u64> = rights.void().iter().collect();
        let mut pages = Pages::new(self.rows, core.number.entries(0, next));
        while let Some(page) = pages.next().await? {
            for (key, row) in &page {
                let number = trailing_number(key);
                let Ok(StoredEntry { entry, .. }) = StoredEntry::parse(number, row) else { continue };
                if rights.entry(number).is_some() || entry.header().parents.is_empty() {
                    continue;
                }
                let seen = self.graph.seen_by(self.rows, number).await?;
                let (author, need) = (entry.header().author, need_of(&entry));
                let case = Case { number, author, below: &seen, need, is_settings: false };
                if !rights.upholds(&case, &all, rights.void()) {
                    void.push(number);
                }
            }
        }
        Ok(Numbers::of_all(void))
    }
}
