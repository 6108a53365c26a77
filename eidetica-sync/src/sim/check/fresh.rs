//! A replica that gets the same entries in another order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::Result;
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Database, Engine, Id, Memory, Options, Outcome, Parked};

use super::super::dice::Dice;
use super::super::environment::{Clock, SimEnvironment};
use super::history::log;
use super::{broken, ensure, shown};

/// The most entries that arrive at once.
const MOST: u64 = 300;
/// How often entries are offered once more for which there was no room.
const ROUNDS: usize = 20;

/// A new replica in memory that gets the same entries in another order, in pages of any size, some of them before their
/// parents, comes to show the same.
///
/// Errors: `Corrupted` for what differs, or if an entry is refused there; those of the database.
pub async fn fresh(database: &Database, dice: &mut Dice) -> Result<()> {
    let log = log(database).await?;
    let ids: Vec<Id> = log.iter().map(|entry| entry.id).collect();
    let mut entries = database.get_entries(&ids).await?;
    let Some(root) = entries.first().map(VerifiedEntry::to_raw) else {
        return Err(broken("the database has no entry"));
    };
    entries.remove(0);
    match dice.chance(0.5) {
        true => entries = in_causal_order(entries, dice),
        false => dice.shuffle(&mut entries),
    }
    let environment = Arc::new(SimEnvironment::new(Clock::new(), dice.number(), "replica"));
    // What is ahead of the clock here has been let in there.
    let options = Options::default().environment(environment).proves_in_line().allowed_skew(Duration::MAX);
    let engine = Engine::open(Box::new(Memory::new()), options).await?;
    let replica = engine.adopt_database(root, None).await?;
    for _ in 0..ROUNDS {
        entries = offer(&replica, entries, dice).await?;
        if entries.is_empty() {
            break;
        }
    }
    ensure(entries.is_empty(), "a new replica has no room for the entries", entries.len())?;
    let same = shown(database).await?.compare(&shown(&replica).await?);
    engine.close().await?;
    same
}

/// Offers entries in pages; returns those for which there was no room.
async fn offer(replica: &Database, entries: Vec<VerifiedEntry>, dice: &mut Dice) -> Result<Vec<VerifiedEntry>> {
    let mut rest = entries;
    let mut again = Vec::new();
    while !rest.is_empty() {
        let cut = (1 + dice.below(MOST) as usize).min(rest.len());
        let later = rest.split_off(cut);
        let page = std::mem::replace(&mut rest, later);
        let outcomes = replica.ingest(page.iter().map(VerifiedEntry::to_raw).collect(), "replica").await?;
        for (entry, outcome) in page.into_iter().zip(outcomes) {
            match outcome {
                // What counts by what is still to come is void until then.
                Outcome::Deferred | Outcome::Void | Outcome::Parked(Parked::Heads) => again.push(entry),
                Outcome::Refused(reason) => {
                    let error = broken("a new replica refuses an entry that is held here");
                    return Err(error.with("entry", entry.id()).with("reason", reason));
                }
                _ => {}
            }
        }
    }
    Ok(again)
}

/// Any order in which each entry comes after its parents.
fn in_causal_order(entries: Vec<VerifiedEntry>, dice: &mut Dice) -> Vec<VerifiedEntry> {
    let ids: BTreeSet<Id> = entries.iter().map(VerifiedEntry::id).collect();
    let mut children: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    let mut missing: BTreeMap<Id, usize> = BTreeMap::new();
    for entry in &entries {
        let within: Vec<&Id> = entry.header().parents.iter().filter(|parent| ids.contains(*parent)).collect();
        missing.insert(entry.id(), within.len());
        within.into_iter().for_each(|parent| children.entry(*parent).or_default().push(entry.id()));
    }
    let mut ready: Vec<Id> = missing.iter().filter(|(_, parents)| **parents == 0).map(|(id, _)| *id).collect();
    let mut by_id: BTreeMap<Id, VerifiedEntry> = entries.into_iter().map(|entry| (entry.id(), entry)).collect();
    let mut order = Vec::with_capacity(by_id.len());
    while !ready.is_empty() {
        let next = ready.swap_remove(dice.below(ready.len() as u64) as usize);
        order.extend(by_id.remove(&next));
        for child in children.remove(&next).unwrap_or_default() {
            let parents = missing.entry(child).or_default();
            *parents = parents.saturating_sub(1);
            if *parents == 0 {
                ready.push(child);
            }
        }
    }
    // What is left stands on something that is not here; it comes last, and is found to be missing.
    order.extend(by_id.into_values());
    order
}
