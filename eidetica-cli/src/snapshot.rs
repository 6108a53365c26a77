//! Snapshots as people write them.

use std::collections::BTreeSet;

use eidetica::{Database, Error, ErrorKind, Id, Snapshot};

/// How many characters of an id `log` prints: the part that all ids share, and 55 bits.
pub const PRINTED: usize = 18;
/// How many entries are read at once.
const PAGE: usize = 1024;

/// The beginning of an id, as `log` prints it.
pub fn short(id: &Id) -> String {
    let mut text = id.to_string();
    text.truncate(PRINTED);
    text
}

/// A word that can name a snapshot.
pub fn form(text: &str) -> Result<String, Error> {
    let back_is_number = text.strip_prefix('~').is_none_or(|back| back.parse::<u64>().is_ok());
    if back_is_number && text.split(',').all(|part| !part.trim().is_empty()) {
        return Ok(text.to_owned());
    }
    Err(Error::new(ErrorKind::InvalidInput, "a snapshot is ids of entries with commas between, or `~N`, such as `~1`"))
}

/// The snapshot that a word names: ids or beginnings of ids with commas between, or `~N`.
pub async fn parse(database: &Database, text: &str) -> Result<Snapshot, Error> {
    if let Some(back) = text.strip_prefix('~') {
        let back = back.parse().map_err(|_| {
            let message = "after `~` stands how many entries to go back, such as `~1`";
            Error::new(ErrorKind::InvalidInput, message).with("snapshot", text)
        })?;
        return before(database, back).await;
    }
    let mut heads = BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        heads.insert(match part.parse() {
            Ok(id) => id,
            Err(_) => by_prefix(database, part).await?,
        });
    }
    Ok(Snapshot(heads.into_iter().collect()))
}

/// The state before the latest `back` entries had come in.
async fn before(database: &Database, back: u64) -> Result<Snapshot, Error> {
    let mut heads: BTreeSet<Id> = database.get_tips().await?.into_iter().collect();
    let mut left = back;
    let mut at = None;
    while left > 0 {
        let page = database.log(at, left.min(PAGE as u64) as usize).await?;
        // The root is below everything, and nothing is before it.
        if page.is_empty() || page.iter().any(|entry| entry.parents.is_empty()) {
            let message = "the database has no state so far back; `~N` takes at most one less than it has entries";
            let error = Error::new(ErrorKind::NotFound, message).with("back", back);
            return Err(error.with("entries", database.entry_count().await?));
        }
        for entry in page {
            // What is above it has been taken away before, so it is a head now, or below another parent of its children.
            heads.remove(&entry.id);
            heads.extend(entry.parents);
            (at, left) = (Some(entry.number), left - 1);
        }
    }
    Ok(Snapshot(heads.into_iter().collect()))
}

async fn by_prefix(database: &Database, prefix: &str) -> Result<Id, Error> {
    let mut found = Vec::new();
    let mut at = None;
    loop {
        let page = database.log(at, PAGE).await?;
        found.extend(page.iter().map(|entry| entry.id).filter(|id| id.to_string().starts_with(prefix)));
        match page.last() {
            Some(last) if found.len() < 2 => at = Some(last.number),
            _ => break,
        }
    }
    match found[..] {
        [one] => Ok(one),
        [] => {
            let message = "the database has no entry whose id begins so; see `log`";
            Err(Error::new(ErrorKind::NotFound, message).with("id", prefix))
        }
        [one, other, ..] => {
            let message = "several entries begin so; write more of the id";
            let error = Error::new(ErrorKind::InvalidInput, message).with("id", prefix);
            Err(error.with("one", one).with("another", other))
        }
    }
}
