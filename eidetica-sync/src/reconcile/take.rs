//! Taking in what the other side has sent; both sides do it alike.

use eidetica_contract::Result;
use eidetica_core::{Database, Id, Outcome as Fate, Refused};

use super::message::Given;
use super::outcome::{NAMED, broken};
use super::page::Page;

/// Hands a page in at the door. Entries that could only wait for parents are left aside, so that nobody fills the room for
/// waiting entries by sending pages out of order. Returns the first refusals besides.
///
/// Errors: `InvalidInput` if the page is malformed; those of [`Database::ingest`]. Cancellation: as for that.
pub(super) async fn take_in(db: &Database, page: &Page, source: &str) -> Result<(Given, Vec<(Id, String)>)> {
    let entries = page.unpack().ok_or_else(|| broken("a page cannot be unpacked"))?;
    let (standing, loose) = db.standing(entries).await?;
    let ids: Vec<Id> = standing.iter().map(|entry| Id::of(&entry.header)).collect();
    let mut given = Given { loose: count(loose), ..Given::default() };
    let mut refusals = Vec::new();
    for (id, fate) in ids.into_iter().zip(db.ingest(standing, source).await?) {
        match fate {
            Fate::Accepted => given.accepted += 1,
            Fate::Known | Fate::Completed => given.known += 1,
            // One that stands on what was refused is not malformed itself; both go.
            Fate::Refused(reason) => {
                given.refused += 1;
                if refusals.len() < NAMED {
                    refusals.push((id, said(&reason)));
                }
            }
            Fate::Void => given.void += 1,
            _ => given.waiting += 1,
        }
    }
    Ok((given, refusals))
}

fn said(reason: &Refused) -> String {
    reason.to_string()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
