//! Pages there and back. Entries that have come are taken in while the next page is under way.

use std::collections::HashSet;

use eidetica_contract::{ErrorKind, Result};
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Beyond, Database, Id};

use super::exchange::Run;
use super::message::{Piece, Reply, Request};
use super::outcome::broken;
use super::page::{MAX_ENTRIES, Page};
use super::short::{Short, Width};
use super::take::take_in;

/// How many entries are asked for at once.
const WANTED: usize = 1024;
/// What a request takes beside its page and its list, in bytes.
const HEAD: usize = 128;
/// How many pages in a row may bring nothing new.
const FRUITLESS: usize = 4;

/// What is to be sent, a page at a time.
#[derive(Default)]
pub(super) struct Supply {
    known: Vec<Id>,
    from: Option<u64>,
    until: u64,
    except: HashSet<Short>,
    /// How many of the excepted are here.
    spared: u64,
    width: Width,
    listed: Vec<Id>,
}

impl Supply {
    /// What is not below some entries, arrived before a number, and is not excepted; so many of the excepted are here.
    pub(super) fn beyond(known: Vec<Id>, until: u64, except: Vec<Short>, here: usize) -> Supply {
        let width = except.first().map_or(Width::Short, Short::width);
        let except = except.into_iter().collect();
        Supply { known, from: Some(0), until, except, spared: here as u64, width, listed: Vec::new() }
    }

    /// These entries, each after those below it.
    pub(super) fn listed(mut ids: Vec<Id>) -> Supply {
        ids.reverse();
        Supply { listed: ids, ..Supply::default() }
    }

    /// How many entries that are.
    async fn count(&self, db: &Database) -> Result<u64> {
        let Some(from) = self.from else { return Ok(self.listed.len() as u64) };
        let beyond = Beyond { known: &self.known, from, until: self.until };
        Ok(db.count_beyond(&beyond).await?.saturating_sub(self.spared))
    }

    /// The next page of about `bytes` bytes of entries, and at most `most` when it is packed; how many entries it has.
    async fn next(&mut self, db: &Database, bytes: usize, most: usize) -> Result<Option<(Page, usize)>> {
        while let Some(from) = self.from {
            let beyond = Beyond { known: &self.known, from, until: self.until };
            let stretch = db.page_beyond(&beyond, bytes, MAX_ENTRIES).await?;
            self.from = None;
            let wanted = |id: &Id| self.except.is_empty() || !self.except.contains(&Short::of(id, self.width));
            let wanted: Vec<_> = stretch.entries.iter().filter(|arrived| wanted(&arrived.entry.id())).collect();
            let (page, count) = Page::pack(wanted.iter().map(|arrived| &arrived.entry), most)?;
            self.from = wanted.get(count).map_or(stretch.next, |unsent| Some(unsent.number));
            if count > 0 {
                return Ok(Some((page, count)));
            }
        }
        if self.listed.is_empty() {
            return Ok(None);
        }
        let next: Vec<Id> = self.listed.iter().rev().take(MAX_ENTRIES).copied().collect();
        let entries: Vec<VerifiedEntry> = db.page_of(&next, bytes).await?;
        let (page, count) = Page::pack(entries.iter(), most)?;
        // What is here stays here, so the entries are those of the first ids.
        self.listed.truncate(self.listed.len() - count.max(1));
        Ok((count > 0).then_some((page, count)))
    }
}

impl Run<'_> {
    /// Fetches what is not below some entries. Returns which of the excepted ones the other side has, and the hash of its heads as
    /// it said it last.
    pub(super) async fn pull(
        &mut self,
        have: &[Id],
        except: &[Short],
        first: Option<Piece>,
    ) -> Result<(Vec<bool>, Option<[u8; 32]>)> {
        let (width, most) = (except.first().map_or(Width::Short, Short::width), self.most());
        let request = |from, until| {
            let (have, except) = (have.to_vec(), except.to_vec());
            Request::Pull { have, except, width, from, until, most }
        };
        let (mut piece, held) = match first {
            Some(piece) => (piece, Vec::new()),
            None => self.piece(request(0, 0)).await?,
        };
        if held.len() != except.len() {
            return Err(broken("its answer to a list has another length"));
        }
        let (mut from, mut fruitless) = (0, 0);
        loop {
            let last = piece.next == 0;
            if !last && (piece.next <= from || piece.next >= piece.until || piece.page.is_empty()) {
                return Err(broken("its pages do not lead on"));
            }
            self.left = piece.left;
            let (next, until) = (piece.next, piece.until);
            let taken = take_in(self.db, &piece.page, &self.options.source);
            let (taken, asked) = match last {
                true => (taken.await, None),
                false => {
                    let (taken, asked) = tokio::join!(taken, self.piece(request(next, until)));
                    (taken, Some(asked))
                }
            };
            let (given, refusals) = taken?;
            self.received(&given, refusals);
            // Loose entries mean that pages have been left out, as after a crash there: the heads are compared anew.
            fruitless = if given.accepted > 0 { 0 } else { fruitless + 1 };
            let most = if given.void > 0 { self.pages_in_vain } else { FRUITLESS };
            let Some(asked) = asked.filter(|_| given.loose == 0) else { return Ok((held, Some(piece.digest))) };
            if fruitless >= most {
                return match given.waiting + given.void {
                    0 if !self.crossed().await? => Err(broken("its pages hold nothing new")),
                    _ => Ok((held, None)),
                };
            }
            from = next;
            piece = asked?.0;
            if piece.until != until {
                return Err(broken("its pages do not lead on"));
            }
        }
    }

    /// Pages have brought nothing new. If more is here than there was and has come with them, somebody else has brought it, such
    /// as the other side in a round of its own: nobody is to blame, and the heads are compared anew.
    async fn crossed(&mut self) -> Result<bool> {
        let crossed = self.db.stand().await?.entries > self.here;
        self.crossed |= crossed;
        Ok(crossed)
    }

    async fn piece(&self, request: Request) -> Result<(Piece, Vec<bool>)> {
        match self.ask(request).await? {
            Reply::Pulled { held, piece } => Ok((piece, held)),
            _ => Err(broken("the answer is to something else")),
        }
    }

    /// Sends and fetches, until both are done. Returns the hash of the other side's heads as it said it last.
    pub(super) async fn trade(&mut self, mut supply: Supply, mut wanted: Vec<Short>) -> Result<Option<[u8; 32]>> {
        wanted.reverse();
        (self.left, self.unsent) = (wanted.len() as u64, supply.count(self.db).await?);
        let width = wanted.first().map_or(Width::Short, Short::width);
        let at_once = WANTED.min(self.max_request() / 4 / width.bytes());
        let (bytes, max_request) = (self.page(), self.max_request());
        let room = |wanted: usize| max_request.saturating_sub(HEAD + wanted.min(at_once) * width.bytes());
        let (mut came, mut digest, mut fruitless) = (None, None, 0);
        // An entry that is too long to be sent does not keep others from being fetched.
        let mut stopped = None;
        let mut sendable = |next: Result<Option<(Page, usize)>>| match next {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                stopped = Some(error);
                Ok(None)
            }
            next => next,
        };
        let mut ready = sendable(supply.next(self.db, bytes, room(wanted.len())).await)?;
        loop {
            let want: Vec<Short> = wanted.iter().rev().take(at_once).copied().collect();
            let (give, count) = ready.take().map_or((None, 0), |(page, count)| (Some(page), count));
            let ask = async {
                if give.is_none() && want.is_empty() {
                    return Ok(None);
                }
                self.ask(Request::Trade { give, width, want: want.clone(), most: self.most() }).await.map(Some)
            };
            let take = async {
                match &came {
                    Some(page) => take_in(self.db, page, &self.options.source).await.map(Some),
                    None => Ok(None),
                }
            };
            let (reply, taken, next) = tokio::join!(ask, take, supply.next(self.db, bytes, room(wanted.len())));
            if let Some((given, refusals)) = taken? {
                self.received(&given, refusals);
                fruitless = if given.accepted + given.waiting + given.void > 0 { 0 } else { fruitless + 1 };
            }
            if fruitless >= FRUITLESS {
                return if self.crossed().await? { Ok(None) } else { Err(broken("its pages hold nothing new")) };
            }
            ready = sendable(next)?;
            let Some(reply) = reply? else { return stopped.map_or(Ok(digest), Err) };
            let Reply::Traded { given, covered, page, digest: theirs } = reply else {
                return Err(broken("the answer is to something else"));
            };
            self.sent(count, given.as_ref())?;
            let covered = usize::from(covered);
            if covered > want.len() || (covered == 0 && !want.is_empty()) || (page.is_some() && want.is_empty()) {
                return Err(broken("it answers for other entries than were asked for"));
            }
            if page.is_none() && !want.is_empty() {
                fruitless += 1;
            }
            wanted.truncate(wanted.len() - covered);
            self.left = wanted.len() as u64;
            (came, digest) = (page, Some(theirs));
        }
    }
}
