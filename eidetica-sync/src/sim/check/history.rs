//! The entries and what is kept about them as a whole.

use std::collections::{BTreeMap, BTreeSet};

use eidetica_contract::Result;
use eidetica_core::{Database, Fingerprint, Id, LogEntry, Point};

use super::ensure;

/// How many entries are read at once.
const PAGE: usize = 1024;

/// The history is closed: every parent of an entry is here and came before it; heights and times follow those of the parents;
/// there is one root; and heads, count, fingerprints and the order by height are what the entries say. Returns the ids.
///
/// Errors: `Corrupted` for what does not hold; those of the database.
pub async fn history(database: &Database) -> Result<BTreeSet<Id>> {
    let log = log(database).await?;
    let mut known: BTreeMap<Id, &LogEntry> = BTreeMap::new();
    let mut heads = BTreeSet::new();
    let mut last = None;
    for entry in &log {
        // Numbers of entries that are void, and that nothing stands on, are left out.
        let follows = last.replace(entry.number).is_none_or(|last| last < entry.number);
        ensure(follows, "the numbers of arrival do not rise", (entry.number, entry.id))?;
        let parents: Option<Vec<&LogEntry>> = entry.parents.iter().map(|id| known.get(id).copied()).collect();
        let Some(parents) = parents else {
            return Err(super::broken("a parent of an entry is not here, or came later").with("entry", entry.id));
        };
        ensure(parents.is_empty() == (entry.id == *database.root_id()), "an entry is no root, or a second one", entry)?;
        let height = parents.iter().map(|parent| parent.height + 1).max().unwrap_or(0);
        ensure(entry.height == height, "the height of an entry does not follow its parents", entry)?;
        let after = parents.iter().all(|parent| parent.time < entry.time);
        ensure(after, "an entry is not later than its parents", entry)?;
        heads.retain(|head| !entry.parents.contains(head));
        heads.insert(entry.id);
        ensure(known.insert(entry.id, entry).is_none(), "an entry is here twice", entry.id)?;
    }
    let count = database.entry_count().await?;
    ensure(count == log.len() as u64, "the number of entries is not the one that is counted", (count, log.len()))?;
    let tips = database.get_tips().await?;
    ensure(heads.iter().eq(&tips), "the heads are not the entries that nothing is above", (&tips, &heads))?;

    let mut by_height: Vec<(u64, Id)> = known.values().map(|entry| (entry.height, entry.id)).collect();
    by_height.sort_unstable();
    let all = Point::START..Point::END;
    let listed = database.entries_in(all.clone(), usize::MAX).await?;
    ensure(listed == by_height, "the order by height is not that of the entries", (listed.len(), by_height.len()))?;
    let top = by_height.last().map_or(0, |(height, _)| *height);
    let middle = Point::at_height(top / 2 + 1);
    for range in [all, Point::START..middle, middle..Point::END] {
        let mut print = Fingerprint::EMPTY;
        let within = |height: u64, id: Id| range.contains(&Point { height, id });
        by_height.iter().filter(|(height, id)| within(*height, *id)).for_each(|(_, id)| print.add(id));
        let kept = database.fingerprint(range.clone()).await?;
        ensure(kept == print, "a fingerprint is not that of the entries", (&range, kept, print))?;
    }
    Ok(known.into_keys().collect())
}

/// All entries, in the order of their arrival.
pub(super) async fn log(database: &Database) -> Result<Vec<LogEntry>> {
    let mut log: Vec<LogEntry> = Vec::new();
    let mut before = None;
    loop {
        let page = database.log(before, PAGE).await?;
        before = page.last().map(|entry| entry.number);
        let full = page.len() == PAGE;
        log.extend(page);
        if !full {
            log.reverse();
            return Ok(log);
        }
    }
}
