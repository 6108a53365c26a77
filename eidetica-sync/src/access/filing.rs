//! Putting a request down, within bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use eidetica_contract::{ErrorKind, Result};
use eidetica_core::LocalChange;
use eidetica_core::auth::Permission;

use super::book::{Book, Entry};
use super::request::Request;
use super::rows::{self, COUNT, Decision, RequestRow};

/// How many requests may wait to be put down, in this process.
const WAITING: usize = 64;
/// How many rows that are too old go along with one that is added.
const SWEPT: usize = 64;
/// How often it is tried anew because another process was faster.
const TRIES: usize = 64;

/// A request that was answered and is to be put down.
#[must_use = "the request is forgotten unless it is filed"]
pub struct Filing {
    book: Book,
    request: Request,
    permission: Permission,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filed {
    /// It is in the book.
    Kept,
    /// There was no room for it, or it was decided meanwhile. It will be put down when it is asked again, if there is room then.
    Dropped,
}

/// Counts those that are put down or wait for that.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(counter: &'a AtomicUsize) -> Option<Place<'a>> {
        let place = Place(counter);
        (counter.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Filing {
    pub(super) fn new(book: Book, request: Request, permission: Permission) -> Filing {
        Filing { book, request, permission }
    }

    /// Puts the request down, within the bounds of the book. When there are too many for one database, or in all, the one that
    /// was asked longest ago gives way, of the device that has most; too many of one device are not taken.
    ///
    /// Errors: [`ErrorKind::Corrupted`] for rows that cannot be read; those of the store. Cancellation: it is put down or not.
    pub async fn file(self) -> Result<Filed> {
        let Some(_place) = Place::take(&self.book.shared.filing) else { return Ok(Filed::Dropped) };
        let _turn = self.book.shared.turn.lock().await;
        for _ in 0..TRIES {
            let Some(changes) = self.changes().await? else { return Ok(Filed::Dropped) };
            match self.book.shared.engine.change_locals(changes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => {
                    self.book.changed();
                    return done.map(|()| Filed::Kept);
                }
            }
        }
        Ok(Filed::Dropped)
    }

    /// The changes that put it down; `None` if there is no room.
    async fn changes(&self) -> Result<Option<Vec<LocalChange>>> {
        let (book, now) = (&self.book, self.book.now());
        let wanted = self.request.wanted();
        let mut row = RequestRow {
            wanted: wanted.to_bytes(),
            device: *self.request.from().as_bytes(),
            asked: now,
            refreshed: now,
            decision: Decision::None,
        };
        if let Some(known) = book.entry(&wanted.database, &wanted.key).await? {
            match &known.row.decision {
                _ if book.is_over(&known, now) => {}
                Decision::Begun(_) => return Ok(None),
                Decision::Rejected(..) if self.permission >= known.permission => return Ok(None),
                Decision::None if known.row.wanted == row.wanted => row.asked = known.row.asked,
                _ => {}
            }
            return Ok(Some(vec![known.replaced(Some(&row))]));
        }
        // Every addition changes the count, so that two at once do not both find the last place.
        let (before, after) = book.count().await?;
        let mut changes = vec![LocalChange { name: COUNT.to_owned(), before, after: Some(after) }];
        let (over, kept): (Vec<Entry>, Vec<Entry>) =
            book.entries().await?.into_iter().partition(|entry| book.is_over(entry, now));
        changes.extend(over.iter().take(SWEPT).map(|entry| entry.replaced(None)));
        let limits = &book.shared.limits;
        let of_device = |entry: &&Entry| entry.row.device == row.device && entry.is_open();
        if kept.iter().filter(of_device).count() >= limits.per_device {
            return Ok(None);
        }
        let here: Vec<&Entry> = kept.iter().filter(|entry| entry.wanted.database == wanted.database).collect();
        let crowd = match () {
            () if here.len() >= limits.per_database => Some(here),
            () if kept.len() >= limits.in_all => Some(kept.iter().collect()),
            () => None,
        };
        if let Some(crowd) = crowd {
            let Some(loser) = loser(&crowd) else { return Ok(None) };
            changes.push(loser.replaced(None));
        }
        let name = rows::request(&wanted.database, &wanted.key);
        changes.push(LocalChange { name, before: None, after: Some(rows::write(&row)) });
        Ok(Some(changes))
    }
}

impl fmt::Debug for Filing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filing").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Who gives way: where decided ones take more than half, the oldest of these. Otherwise, of the device with most open requests
/// the one that was asked longest ago: who floods displaces its own before those of others, and who goes on asking stays before
/// those who do not.
fn loser<'a>(crowd: &[&'a Entry]) -> Option<&'a Entry> {
    let (open, decided): (Vec<&Entry>, Vec<&Entry>) = crowd.iter().partition(|entry| entry.is_open());
    if decided.len() > open.len() {
        return decided.into_iter().min_by_key(|entry| (entry.decided_at(), entry.row.asked));
    }
    let mut devices = BTreeMap::<[u8; 32], usize>::new();
    open.iter().for_each(|entry| *devices.entry(entry.row.device).or_default() += 1);
    let undecided = open.into_iter().filter(|entry| entry.row.decision == Decision::None);
    let rank = |entry: &&Entry| (std::cmp::Reverse(devices[&entry.row.device]), entry.row.refreshed, entry.row.asked);
    undecided.min_by_key(rank)
}

impl Entry {
    /// True while nobody has decided to the end.
    fn is_open(&self) -> bool {
        matches!(self.row.decision, Decision::None | Decision::Begun(_))
    }

    fn decided_at(&self) -> u64 {
        match self.row.decision {
            Decision::Approved(decided, _) | Decision::Rejected(decided, _) | Decision::Begun(decided) => decided.at,
            Decision::None => u64::MAX,
        }
    }

    /// The change to another row, or to none.
    pub(super) fn replaced(&self, row: Option<&RequestRow>) -> LocalChange {
        LocalChange { name: self.name.clone(), before: Some(self.bytes.clone()), after: row.map(rows::write) }
    }
}
