//! The answering side. It keeps nothing between two requests.

use std::collections::HashSet;
use std::ops::Range;

#[cfg(doc)]
use eidetica_contract::ErrorKind;
use eidetica_contract::Result;
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Beyond, Database, Id, Point};

use super::message::{Given, MAX_IDS, Piece, Reply, Request};
use super::outcome::{Limits, broken};
use super::page::{MAX_ENTRIES, Page};
use super::ranges::{Claim, Content, Finding, MAX_PARTS, Print};
use super::short::{Short, Width, shortened};
use super::take::take_in;
use super::{digest_of, resolve};

/// Up to how many entries a range is listed and not cut further.
pub(super) const LEAF: usize = 32;
/// How many entries of a range are told at once beside those that the caller has listed.
const LISTED: usize = 1024;
/// What an answer takes beside its page, its heads, its list or its findings, in bytes.
const HEAD: usize = 1024;

/// Answers a request about a database. The caller has seen to it that the other side may read it, and that only those who
/// may carry entries for somebody give any; what the entries are worth is for the door to say.
///
/// Cost: bounded by the limits, whatever is asked. Memory: some pages.
///
/// Errors: [`ErrorKind::InvalidInput`] for what no honest peer asks; [`ErrorKind::NotFound`] if entries are named as known to both that
/// are not here; [`ErrorKind::TooLarge`] if an entry does not fit into the largest answer; those of the database.
/// Cancellation: entries that were given come in or do not, each whole; the caller lets the future run to its end where that matters.
pub async fn answer(db: &Database, request: Request, limits: &Limits, source: &str) -> Result<Reply> {
    let room = |most: u32| (most as usize).min(limits.reply).saturating_sub(HEAD).max(HEAD);
    match request {
        Request::Root => {
            let root = db.get_entry(db.root_id()).await?;
            Ok(Reply::Root(Page::pack([&root].into_iter(), limits.reply)?.0))
        }
        Request::Compare { digest, heads, give, pull, tell, most } => {
            let given = match &give {
                Some(page) => Some(take_in(db, page, source).await?.0),
                None => None,
            };
            compare(db, given, (digest, heads.unwrap_or_default()), (pull, tell), (room(most), limits)).await
        }
        Request::Pull { have, except, width: _, from, until, most } => {
            let held = match from {
                0 => resolve(db, &except).await?.iter().map(|found| !found.is_empty()).collect(),
                _ => Vec::new(),
            };
            let except: HashSet<Short> = except.into_iter().collect();
            Ok(Reply::Pulled { held, piece: piece(db, &have, &except, from..until, room(most), limits).await? })
        }
        Request::Probe { width, ids, claims, list, most } => {
            probe(db, width, &ids, &claims, (usize::from(list).min(limits.list), room(most)), limits).await
        }
        Request::Trade { give, width: _, want, most } => {
            let given = match &give {
                Some(page) => Some(take_in(db, page, source).await?.0),
                None => None,
            };
            let (covered, page) = fetch(db, &want, room(most), limits).await?;
            Ok(Reply::Traded { given, covered, page, digest: digest_of(&db.stand().await?.heads) })
        }
    }
}

async fn compare(
    db: &Database,
    given: Option<Given>,
    (digest, theirs): ([u8; 32], Vec<Id>),
    (pull, tell): (bool, bool),
    (room, limits): (usize, &Limits),
) -> Result<Reply> {
    let stand = db.stand().await?;
    let own = digest_of(&stand.heads);
    if own == digest {
        return Ok(Reply::Same { given });
    }
    let known = db.known(&theirs).await?;
    let heads = (tell && stand.heads.len() <= MAX_IDS.min(room / 64)).then_some(stand.heads);
    let first = match pull && !known.is_empty() && known.iter().all(|known| *known) {
        true => {
            let room = room.saturating_sub(heads.as_ref().map_or(0, Vec::len) * 32).max(HEAD);
            Some(piece(db, &theirs, &HashSet::new(), 0..0, room, limits).await?)
        }
        false => None,
    };
    Ok(Reply::Differ { given, digest: own, entries: stand.entries, heads, known, first })
}

/// A page of what is not below some entries. `arrivals`: from where to where; where it is to end is decided with the first
/// page, so that what comes in meanwhile does not make it endless.
async fn piece(
    db: &Database,
    have: &[Id],
    except: &HashSet<Short>,
    arrivals: Range<u64>,
    room: usize,
    limits: &Limits,
) -> Result<Piece> {
    let width = except.iter().next().map_or(Width::Short, Short::width);
    let stand = db.stand().await?;
    let until = if arrivals.end == 0 { stand.entries } else { arrivals.end };
    let mut from = arrivals.start;
    // Each turn but the last passes over excepted entries alone, and they are few.
    let (page, next) = loop {
        let stretch = db.page_beyond(&Beyond { known: have, from, until }, limits.page, MAX_ENTRIES).await?;
        let wanted: Vec<_> = stretch
            .entries
            .iter()
            .filter(|arrived| except.is_empty() || !except.contains(&Short::of(&arrived.entry.id(), width)))
            .collect();
        match stretch.next {
            Some(next) if wanted.is_empty() => from = next,
            next => {
                let (page, count) = Page::pack(wanted.iter().map(|arrived| &arrived.entry), room)?;
                break (page, wanted.get(count).map_or(next, |unsent| Some(unsent.number)));
            }
        }
    };
    let left = match next {
        Some(from) => db.count_beyond(&Beyond { known: have, from, until }).await?,
        None => 0,
    };
    Ok(Piece { page, next: next.unwrap_or(0), until, left, digest: digest_of(&stand.heads) })
}

async fn probe(
    db: &Database,
    width: Width,
    ids: &[Short],
    claims: &[Claim],
    (list, room): (usize, usize),
    limits: &Limits,
) -> Result<Reply> {
    let found = resolve(db, ids).await?;
    // Where two begin alike, neither is taken for the one that is meant.
    let common: Vec<Id> = found.iter().filter_map(|found| if let [id] = found[..] { Some(id) } else { None }).collect();
    let known = found.iter().map(|found| found.len() == 1).collect();
    let beyond = Beyond { known: &common, from: 0, until: u64::MAX };
    let count = db.count_beyond(&beyond).await?;
    let list = match list.min(room / width.bytes()) {
        0 => None,
        most => db.ids_beyond(&beyond, most).await?.map(|ids| shortened(&ids, width)),
    };
    let mut findings = Vec::new();
    let mut left = room;
    for claim in claims.iter().take(limits.claims).filter(|_| list.is_none()) {
        let finding = find(db, claim, width, left).await?;
        let size = size(&finding, width);
        if size > left && !findings.is_empty() {
            break;
        }
        left = left.saturating_sub(size);
        findings.push(finding);
    }
    Ok(Reply::Probed { width, known, count, list, findings })
}

/// What is here of a range, in an answer of at most about `room` bytes.
async fn find(db: &Database, claim: &Claim, width: Width, room: usize) -> Result<Finding> {
    let range = || claim.range.clone();
    match &claim.content {
        Content::Print(theirs) => {
            let print = db.fingerprint(range()).await?;
            if Print::of(&print) == *theirs {
                return Ok(Finding::Same);
            }
            if print.count <= LEAF as u64 {
                let entries = db.entries_in(range(), LEAF).await?;
                return Ok(Finding::List(entries.iter().map(|(_, id)| Short::of(id, width)).collect()));
            }
        }
        Content::List(theirs) => {
            let most = theirs.len() + LISTED.min(room / width.bytes()).max(LEAF);
            let entries = db.entries_in(range(), most + 1).await?;
            if entries.len() <= most {
                let listed: HashSet<&Short> = theirs.iter().collect();
                let own: Vec<Short> = entries.iter().map(|(_, id)| Short::of(id, width)).collect();
                let more = own.iter().filter(|short| !listed.contains(short)).copied().collect();
                let own: HashSet<Short> = own.into_iter().collect();
                return Ok(Finding::Compared { here: theirs.iter().map(|short| own.contains(short)).collect(), more });
            }
        }
    }
    let parts: Vec<(Point, _)> = db.split(range(), MAX_PARTS).await?;
    if parts.len() < 2 {
        return Err(broken("a range cannot be cut"));
    }
    Ok(Finding::Parts(parts.into_iter().map(|(start, print)| (start, Print::of(&print))).collect()))
}

/// How many bytes a finding takes at most.
fn size(finding: &Finding, width: Width) -> usize {
    match finding {
        Finding::Same => 1,
        Finding::Parts(parts) => 3 + parts.len() * 57,
        Finding::List(list) => 3 + list.len() * width.bytes(),
        Finding::Compared { here, more } => 6 + here.len() / 8 + more.len() * width.bytes(),
    }
}

/// The wanted entries that are here, as many as fit, and how many of the wanted are done with.
async fn fetch(db: &Database, want: &[Short], room: usize, limits: &Limits) -> Result<(u16, Option<Page>)> {
    if want.is_empty() {
        return Ok((0, None));
    }
    let found = resolve(db, want).await?;
    let (places, ids): (Vec<usize>, Vec<Id>) =
        found.into_iter().enumerate().flat_map(|(place, ids)| ids.into_iter().map(move |id| (place, id))).unzip();
    let entries: Vec<VerifiedEntry> = db.page_of(&ids, limits.page).await?;
    let (page, count) = Page::pack(entries.iter(), room)?;
    let covered = places.get(count).copied().unwrap_or(want.len());
    // Where several begin alike, the page may end between them; the rest is found when whole ids are compared.
    let covered = if covered == 0 { 1 } else { covered };
    Ok((u16::try_from(covered).unwrap_or(u16::MAX), (count > 0).then_some(page)))
}
