//! Strikes and lifts: what the arrival of an entry changes for others, in the batch in which it comes.
//!
//! An entry that ceases to count leaves the state of its stores: each cell that it has touched is evaluated anew from the
//! operations that are left. The live set follows from what counts, and heads, index by height and fingerprints follow from the
//! live set. All of it costs what is struck or lifted, and a look at the entries that could be.

use std::sync::Arc;

use eidetica_contract::Result;

use super::as_of::{concerned_by, need_of};
use super::catalog::StoreInfo;
use super::entries::{StoredEntry, entry_at};
use super::marks::Strike;
use super::meta::Tip;
use super::work::{Admitted, Work};
use crate::auth::{Case, Setting, Subject};
use crate::dag::{Numbers, Seen, blocks};
use crate::entry::VerifiedEntry;
use crate::id::Id;
use crate::layout::{HEIGHTS, STRIKES, VOID, trailing_number};
use crate::store::again::Again;
use crate::store::algebra::{Algebra, Delta};
use crate::store::applier::Pages;
use crate::store::cell::Cell;

/// What an entry has struck and lifted.
#[derive(Clone, Debug)]
pub(crate) struct Struck {
    /// Its number.
    pub by: u64,
    pub struck: Vec<Id>,
    pub lifted: Vec<Id>,
}

impl Work<'_> {
    /// Finds out what an effective settings entry, which has just arrived, changes for others, and changes it.
    /// `changed` are the settings entries whose verdicts are other ones than before.
    pub(super) async fn strike(&mut self, number: u64, below: &Seen, changed: &Numbers) -> Result<()> {
        let rights = self.state.rights.clone();
        let Some(entry) = rights.entry(number) else { return Ok(()) };
        let before = Seen::all_before(number).numbers();
        let mut concerned = rights.concerned_by(changed, &before);
        // It takes rights away from what it has not seen; what it gives, it gives to what comes after it.
        let unseen = below.missing_before(number);
        let limits = entry.rights.iter().filter(|(_, setting)| matches!(setting, Setting::Limit(_)));
        concerned.extend(limits.map(|(subject, _)| (*subject, unseen.clone())));
        concerned.retain(|(_, numbers)| !numbers.is_empty());
        if concerned.is_empty() && changed.is_empty() {
            return Ok(());
        }
        let void = self.judge_again(&concerned, changed).await?;
        let struck = void.difference(&self.state.marks.void);
        let lifted = self.state.marks.void.difference(&void);
        let strike = Strike { struck, lifted };
        if strike.is_empty() {
            return Ok(());
        }
        self.state.marks.void = void;
        self.show_what_lives(&strike).await?;
        let mut struck = Struck { by: number, struck: Vec::new(), lifted: Vec::new() };
        for again in strike.struck.union(&strike.lifted).iter() {
            let stored = entry_at(&self.rows, self.core.number, again).await?;
            self.evaluate_anew(&stored, None).await?;
            let list = if strike.struck.contains(again) { &mut struck.struck } else { &mut struck.lifted };
            list.push(stored.entry.id());
        }
        self.rows.put(STRIKES, self.core.number.entry_key(number), strike.to_bytes());
        self.strikes.push(struck);
        Ok(())
    }

    /// All void entries, once those of the keys concerned have been judged again.
    async fn judge_again(&mut self, concerned: &[(Subject, Numbers)], changed: &Numbers) -> Result<Numbers> {
        let rights = self.state.rights.clone();
        let set = Seen::all_before(self.next());
        let (mut struck, mut lifted) = (Vec::new(), Vec::new());
        for number in changed.iter() {
            if rights.void().contains(number) { &mut struck } else { &mut lifted }.push(number);
        }
        let numbers = concerned.iter().fold(Numbers::default(), |sum, (_, numbers)| sum.union(numbers));
        for (start, end) in numbers.ranges() {
            let mut pages = Pages::new(&self.rows, self.core.number.entries(*start, *end));
            while let Some(page) = pages.next().await? {
                for (key, row) in page {
                    let number = trailing_number(&key);
                    let entry = StoredEntry::parse(number, &row)?.entry;
                    let author = entry.header().author;
                    if !concerned_by(concerned, author, number) || rights.entry(number).is_some() {
                        continue;
                    }
                    let seen = self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &[number]).await?;
                    let case = Case { number, author, below: &seen, need: need_of(&entry), is_settings: false };
                    let void = !rights.upholds(&case, &set, rights.void());
                    if void != self.state.marks.void.contains(number) {
                        if void { &mut struck } else { &mut lifted }.push(number);
                    }
                }
            }
        }
        let void = self.state.marks.void.union(&Numbers::of_all(struck));
        Ok(void.difference(&Numbers::of_all(lifted)))
    }

    /// Heads, index by height and fingerprints are made those of the live set, after a change of what counts.
    async fn show_what_lives(&mut self, strike: &Strike) -> Result<()> {
        let next = self.next();
        let void = self.state.marks.void.clone();
        let mut heads: Vec<u64> = self.state.meta.tips.iter().map(|tip| tip.number).collect();
        heads.retain(|head| !void.contains(*head));
        heads.extend(strike.lifted.iter());
        let mut live = self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &heads).await?;
        // What lay below struck heads alone: the greatest that counts is a head now, and so on below it.
        let mut left = self.state.marks.live(next).difference(&live);
        while let Some(number) = left.difference(&void).last() {
            live = live.union(&self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &[number]).await?);
            left = left.difference(&live.numbers());
            heads.push(number);
        }
        heads.sort_unstable_by(|one, other| other.cmp(one));
        heads.dedup();
        let (mut covered, mut tips) = (Seen::nothing(), Vec::new());
        for number in heads.into_iter() {
            if covered.contains(number) {
                continue;
            }
            covered = covered.union(&self.core.graph.seen_by_fresh(&self.rows, &self.fresh, &[number]).await?);
            tips.push(self.tip_of(number).await?);
        }
        tips.sort_unstable_by_key(|tip| tip.id);
        let dead = live.missing_before(next);
        let marked = strike.struck.union(&strike.lifted);
        self.set_live(dead, &marked, tips).await
    }

    async fn tip_of(&self, number: u64) -> Result<Tip> {
        let entry = entry_at(&self.rows, self.core.number, number).await?.entry;
        let header = entry.header();
        Ok(Tip { id: entry.id(), number, height: header.height, time: header.time })
    }

    /// An effective entry is about to come that stands on entries which were in nobody's sight: they are live from now on, void
    /// as they are. True if there are some; heads that it has seen without being above them directly are then left to drop.
    pub(super) async fn support(&mut self, below: &Seen, parents: &[u64]) -> Result<bool> {
        let supported = self.state.marks.dead.intersection(&below.numbers());
        if supported.is_empty() {
            return Ok(false);
        }
        let dead = self.state.marks.dead.difference(&supported);
        let mut tips = self.state.meta.tips.clone();
        for parent in parents.iter().filter(|parent| supported.contains(**parent)) {
            tips.push(self.tip_of(*parent).await?);
        }
        tips.sort_unstable_by_key(|tip| tip.id);
        self.set_live(dead, &Numbers::default(), tips).await?;
        Ok(true)
    }

    /// Changes which entries are live. `marked` are those whose verdicts have changed besides.
    async fn set_live(&mut self, dead: Numbers, marked: &Numbers, tips: Vec<Tip>) -> Result<()> {
        let database = self.core.number;
        let gone = dead.difference(&self.state.marks.dead);
        let come = self.state.marks.dead.difference(&dead);
        let before = self.state.meta.top().unwrap_or(0);
        self.state.marks.dead = dead;
        self.state.meta.tips = tips;
        let mut leaving = Vec::new();
        for number in gone.iter() {
            let tip = self.tip_of(number).await?;
            self.rows.delete(HEIGHTS, database.height_key(tip.height, &tip.id));
            leaving.push((tip.height, tip.id));
        }
        // What stays has a greatest height of its own, from which those that come raise it one by one.
        let mut top = before;
        if !leaving.is_empty() {
            let stays = self.state.meta.tips.iter().filter(|tip| !come.contains(tip.number)).map(|tip| tip.height);
            let supports = self.height_below(&come).await?;
            top = stays.chain(supports).max().unwrap_or(0).min(before);
            blocks::leave(&mut self.rows, database, &leaving, (before, top)).await?;
        }
        for number in come.iter() {
            let tip = self.tip_of(number).await?;
            self.rows.put(HEIGHTS, database.height_key(tip.height, &tip.id), number.to_be_bytes().to_vec());
            let after = top.max(tip.height);
            blocks::note(&mut self.rows, database, tip.height, &tip.id, (Some(top), after)).await?;
            top = after;
        }
        for number in marked.union(&gone).union(&come).iter() {
            match self.state.marks.row(number) {
                Some(row) => self.rows.put(VOID, database.entry_key(number), row),
                None => self.rows.delete(VOID, database.entry_key(number)),
            }
        }
        // Other processes look at the marks when they look at the catalog.
        self.state.meta.catalog += 1;
        Ok(())
    }

    /// The greatest height of a live entry directly below some that are about to become live.
    async fn height_below(&self, come: &Numbers) -> Result<Option<u64>> {
        let mut greatest = None;
        for number in come.iter() {
            let entry = entry_at(&self.rows, self.core.number, number).await?.entry;
            let parents = super::entries::require(&self.rows, self.core.number, &entry.header().parents).await?;
            let outside = parents.iter().filter(|parent| !come.contains(parent.number)).map(|parent| parent.height);
            greatest = greatest.max(outside.max());
        }
        Ok(greatest)
    }

    /// An entry that has just come is void, and nothing stands on it yet.
    pub(super) fn mark_void(&mut self, number: u64) {
        let marks = &mut self.state.marks;
        (marks.void, marks.dead) = (marks.void.union(&Numbers::of(number)), marks.dead.union(&Numbers::of(number)));
        if let Some(row) = self.state.marks.row(number) {
            self.rows.put(VOID, self.core.number.entry_key(number), row);
        }
        self.state.meta.catalog += 1;
    }

    /// Evaluates anew what an entry has touched, in one store or in all, by what counts now.
    pub(crate) async fn evaluate_anew(&mut self, stored: &StoredEntry, only: Option<(&str, &str)>) -> Result<()> {
        let names: Vec<(String, String)> = stored
            .entry
            .deltas()
            .filter(|(delta, body)| body.is_some() && only.is_none_or(|only| only == (&delta.name, &delta.kind)))
            .map(|(delta, _)| (delta.name.clone(), delta.kind.clone()))
            .collect();
        for (name, kind) in names {
            let Some(info) = self.state.catalog.get(&name, &kind).cloned() else { continue };
            let applied = info.applied_below.is_none_or(|end| stored.number < end) && !info.stale;
            let Some(algebra) = self.core.algebra(&kind).filter(|_| applied || only.is_some()) else { continue };
            let Some(delta) = algebra.delta_of(&stored.entry, &name, &kind) else { continue };
            let touched = self.reevaluate(&info, algebra, stored, &delta).await?;
            let store = info.at(self.core.number);
            if let Some(last) = self.admitted.last_mut() {
                last.touched.extend(touched.into_iter().map(|cell| (store, cell)));
            }
        }
        Ok(())
    }

    async fn reevaluate(
        &mut self,
        info: &Arc<StoreInfo>,
        algebra: Algebra,
        stored: &StoredEntry,
        delta: &Delta,
    ) -> Result<Vec<Cell>> {
        let next = self.next();
        let mut again =
            Again::new(&mut self.rows, &self.core.graph, &self.fresh, info, info.at(self.core.number), algebra);
        let cells = again.cells_of(delta, stored.entry.id()).await?;
        again.evaluate(&cells, &self.state.marks.void, next).await?;
        Ok(cells)
    }

    /// The entries of this group that came from elsewhere and on which nothing effective stands.
    pub(super) fn unsupported(&self) -> Vec<Id> {
        let dead = |entry: &&Admitted| !entry.local && self.state.marks.dead.contains(entry.number);
        self.admitted.iter().filter(dead).map(|entry| entry.id).collect()
    }

    /// True if an entry is here and in the live set.
    pub(super) async fn is_live(&self, entry: &VerifiedEntry) -> Result<bool> {
        let place = super::entries::places(&self.rows, self.core.number, &[entry.id()]).await?.pop().flatten();
        Ok(place.is_some_and(|place| !self.is_dead(place.number)))
    }

    /// True if an entry that is here is void, and nothing effective stands on it.
    pub(super) fn is_dead(&self, number: u64) -> bool {
        self.state.marks.dead.contains(number)
    }
}
