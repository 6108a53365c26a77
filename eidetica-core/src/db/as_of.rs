//! A closed set of entries of the past, and what counts in it.

use eidetica_contract::{PublicKey, Result, Snapshot};

use super::core::{Core, State};
use super::entries::StoredEntry;
use crate::auth::{self, Case, Need, Right, Subject};
use crate::dag::{Numbers, Seen};
use crate::entry::VerifiedEntry;
use crate::layout::trailing_number;
use crate::store::applier::Pages;

/// A closed set of entries, judged by itself: as a peer would see it that has these entries and no others.
#[derive(Clone, Debug)]
pub(crate) struct AsOf {
    /// All entries of the set.
    pub all: Seen,
    /// Those that are effective in it.
    pub effective: Seen,
    /// The settings entries that are void in it.
    pub void_settings: Numbers,
    /// True if something counts in it that does not count now, so that what lives now may have been overtaken in it.
    pub counts_more: bool,
}

impl State {
    /// The present.
    pub fn as_of_now(&self) -> AsOf {
        let next = self.meta.next;
        let (all, effective) = (self.marks.live(next), self.marks.effective(next));
        AsOf { all, effective, void_settings: self.rights.void().clone(), counts_more: false }
    }

    /// True if a set is that of the present, so that what shows now shows in it.
    pub fn is_now(&self, set: &AsOf) -> bool {
        set.effective == self.marks.effective(self.meta.next)
    }

    /// The own right of a subject in a set; now, if none is named.
    pub fn own_right(&self, subject: Subject, set: Option<&AsOf>) -> Right {
        match set {
            Some(set) => self.rights.standing_without(set.void_settings.clone()).own(subject, &set.all),
            None => self.rights.standing().own(subject, &Seen::all_before(self.meta.next)),
        }
    }

    /// The right of a key in a set; now, if none is named.
    pub fn right(&self, key: PublicKey, set: Option<&AsOf>) -> Right {
        match set {
            Some(set) => self.rights.standing_without(set.void_settings.clone()).of(key, &set.all),
            None => self.rights.standing().of(key, &Seen::all_before(self.meta.next)),
        }
    }

    /// All subjects with their own rights in a set; now, if none is named.
    pub fn all_rights(&self, set: Option<&AsOf>) -> Vec<(Subject, Right)> {
        match set {
            Some(set) => self.rights.standing_without(set.void_settings.clone()).all(&set.all),
            None => self.rights.standing().all(&Seen::all_before(self.meta.next)),
        }
    }

    /// A closed set of entries that are here.
    ///
    /// Where no settings entry counts that does not count now, and the other way round, an entry can only be void if it is
    /// void now: those are looked at again, which are mostly none. Otherwise so are the entries of all keys concerned.
    pub async fn as_of(&self, rows: &dyn Snapshot, core: &Core, all: Seen) -> Result<AsOf> {
        let void_settings = self.rights.void_in(&all);
        let concerned = self.rights.concerned_in(&all, &void_settings);
        let void_now = all.numbers().difference(&all.without(&self.marks.void).numbers());
        let looked_at = concerned.iter().fold(void_now.clone(), |sum, (_, numbers)| sum.union(numbers));
        let mut void = void_settings.clone();
        for (start, end) in looked_at.ranges() {
            let mut pages = Pages::new(rows, core.number.entries(*start, *end));
            while let Some(page) = pages.next().await? {
                for (key, row) in page {
                    let number = trailing_number(&key);
                    let entry = StoredEntry::parse(number, &row)?.entry;
                    let author = entry.header().author;
                    let in_question = void_now.contains(number) || concerned_by(&concerned, author, number);
                    if !in_question || self.rights.entry(number).is_some() || entry.header().parents.is_empty() {
                        continue;
                    }
                    let below = core.graph.seen_by(rows, number).await?;
                    let case = Case { number, author, below: &below, need: need_of(&entry), is_settings: false };
                    if !self.rights.upholds(&case, &all, &void_settings) {
                        void = void.union(&Numbers::of(number));
                    }
                }
            }
        }
        let counts_more = !self.marks.void.intersection(&all.numbers()).difference(&void).is_empty();
        Ok(AsOf { effective: all.without(&void), all, void_settings, counts_more })
    }
}

/// True if an entry by this author, with this number, is among those whose verdict may have changed.
pub(crate) fn concerned_by(concerned: &[(Subject, Numbers)], author: PublicKey, number: u64) -> bool {
    let by = |subject: Subject| subject == Subject::Everybody || subject == Subject::Key(author);
    concerned.iter().any(|(subject, numbers)| by(*subject) && numbers.contains(number))
}

/// What an entry without an operation on rights needs: that of an admin if it changes other settings, else to write.
pub(crate) fn need_of(entry: &VerifiedEntry) -> Need {
    let settings = entry.deltas().any(|(delta, _)| delta.kind == auth::KIND);
    Need::Right(if settings { Right::admin(0) } else { Right::WRITE })
}
