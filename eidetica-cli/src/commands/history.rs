//! `log`: the entries of a database.

use std::time::{Duration, SystemTime};

use eidetica::{Database, Id, LogEntry, Time};

use crate::failure::Failure;
use crate::output::Output;
use crate::snapshot::short;

/// How many entries are read at once.
const PAGE: usize = 256;

/// Shows the latest entries, or those that do not count.
pub async fn log(database: &Database, limit: usize, void: bool, output: &mut Output) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let (mut left, mut at) = (limit, None);
    while left > 0 {
        let page = match void {
            true => database.void_log(at, left.min(PAGE)).await?,
            false => database.log(at, left.min(PAGE)).await?,
        };
        let Some(last) = page.last() else { break };
        (at, left) = (Some(last.number), left - page.len());
        for entry in &page {
            if output.json {
                output.document(&json(entry))?;
            } else {
                lines.push(line(entry, void, output.aligns()));
            }
        }
    }
    if output.json {
        return Ok(());
    }
    let mut headings = vec!["entry", "time", "author", "below it", "stores"];
    headings.extend(void.then_some("shown"));
    output.table(&headings.into_iter().map(str::to_owned).collect::<Vec<_>>(), &lines)
}

/// People get the beginning of an id, which is enough for `at`; programs get all of it.
fn line(entry: &LogEntry, void: bool, cut: bool) -> Vec<String> {
    let id = |id: &Id| if cut { short(id) } else { id.to_string() };
    let stores: Vec<&str> = entry.stores.iter().map(|(name, _)| name.as_str()).collect();
    let parents: Vec<String> = entry.parents.iter().map(id).collect();
    let mut author = entry.author.to_string();
    if cut {
        author.truncate(16);
    }
    let mut line = vec![id(&entry.id), time(entry.time), author, parents.join(","), stores.join(", ")];
    if void {
        line.push(if entry.live { "as void, below others" } else { "no" }.to_owned());
    }
    line
}

fn json(entry: &LogEntry) -> serde_json::Value {
    let stores: Vec<_> =
        entry.stores.iter().map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind })).collect();
    let parents: Vec<String> = entry.parents.iter().map(ToString::to_string).collect();
    serde_json::json!({
        "id": entry.id.to_string(), "number": entry.number, "height": entry.height, "parents": parents,
        "time": time(entry.time), "author": entry.author.to_string(), "local": entry.local, "stores": stores,
        "void": entry.void, "live": entry.live,
    })
}

/// As in RFC 3339, in UTC. A time that no calendar has is shown as its number.
pub(crate) fn time(time: Time) -> String {
    let far = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(time.millis()));
    // The calendar of the crate ends with the year 9999.
    let last = Duration::from_secs(253_402_300_799);
    match far.filter(|_| Duration::from_millis(time.millis()) < last) {
        Some(at) => humantime::format_rfc3339_millis(at).to_string(),
        None => time.to_string(),
    }
}
