//! The list of databases in a store: which number each of them has here. It follows from their entries, each of which says what
//! database it belongs to.

use std::collections::BTreeMap;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Keyspace, Result, Scan, Snapshot, WriteBatch};

use crate::db::reindex::DERIVED;
use crate::db::{Problem, StoredEntry};
use crate::engine::Engine;
use crate::id::Id;
use crate::layout::{DatabaseNumber, ENTRIES, META, database_key, trailing_number};
use crate::store::applier::scan_all;

/// How many entries of a database are tried to find out which one it is.
const TRIED: usize = 4;
/// How often a list is written anew when others are creating databases.
const ATTEMPTS: usize = 64;

impl Engine {
    /// Checks that the list of databases is the one that follows from their entries, and that there are no rows of databases
    /// that are not here. What is wrong inside of a database [`Database::verify`](crate::Database::verify) tells.
    ///
    /// Errors: those of the backend. Cancellation: nothing has changed.
    pub async fn verify_list(&self) -> Result<Vec<Problem>> {
        let survey = Survey::take(&*self.storage().snapshot().await?).await?;
        Ok(survey.problems)
    }

    /// Makes the list of databases anew from their entries, and takes away rows of databases that are not here. Each database
    /// can be opened then, and [rebuilt](crate::Database::reindex) if need be. Returns what was wrong.
    ///
    /// Errors: [`ErrorKind::Conflict`] if other processes keep creating databases; those of the backend. Cancellation: it is
    /// made anew or not.
    pub async fn rebuild_list(&self) -> Result<Vec<Problem>> {
        for _ in 0..ATTEMPTS {
            let Survey { problems, batch } = Survey::take(&*self.storage().snapshot().await?).await?;
            if problems.is_empty() {
                return Ok(problems);
            }
            match self.storage().commit(batch, 0).await {
                Ok(()) => return self.storage().flush().await.map(|()| problems),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "other processes keep creating databases in the store; try again"))
    }
}

/// The error of a list that leads nowhere.
pub(crate) fn damaged_list() -> Error {
    let message = "the list of databases is damaged; `reindex` makes it anew from the entries";
    Error::new(ErrorKind::Corrupted, message).with("damaged", "the list of databases")
}

/// Whose entries have this number. `None` if there are none; within, `None` if they cannot be read.
pub(crate) async fn owner(rows: &dyn Snapshot, number: DatabaseNumber) -> Result<Option<Option<Id>>> {
    for tried in [1, TRIED] {
        let page = rows.scan(number.entries(0, u64::MAX).rows(tried)).await?;
        if page.rows.is_empty() {
            return Ok(None);
        }
        let entries = page.rows.iter().map(|(key, row)| StoredEntry::parse(trailing_number(key), row));
        if let Some(stored) = entries.filter_map(Result::ok).next() {
            return Ok(Some(Some(stored.entry.database())));
        }
    }
    Ok(Some(None))
}

/// What is wrong, and what mends it.
#[derive(Default)]
struct Survey {
    problems: Vec<Problem>,
    batch: WriteBatch,
}

impl Survey {
    async fn take(rows: &dyn Snapshot) -> Result<Survey> {
        let there = by_entries(rows).await?;
        let mut survey = Survey::default();
        survey.counter(rows, &there).await?;
        survey.list(rows, &there).await?;
        survey.strays(rows, &there).await?;
        Ok(survey)
    }

    fn problem(&mut self, what: &str) {
        self.problems.push(Problem { what: what.to_owned(), entry: None, reindex_mends: true });
    }

    /// The number of the next database. Whoever creates one changes it, so what mends the list expects it unchanged.
    async fn counter(&mut self, rows: &dyn Snapshot, there: &BTreeMap<u32, Option<Id>>) -> Result<()> {
        let row = rows.get(META, b"c").await?;
        match row.clone() {
            Some(row) => self.batch.expect_value(META, "c", row),
            None => self.batch.expect_absent(META, "c"),
        }
        let wanted = there.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        let counted = row.as_deref().map_or(Some(0), |row| row.try_into().ok().map(u32::from_be_bytes));
        if counted != Some(wanted) {
            self.problem("the number of databases is missing or wrong");
            self.batch.put(META, "c", wanted.to_be_bytes().to_vec());
        }
        Ok(())
    }

    async fn list(&mut self, rows: &dyn Snapshot, there: &BTreeMap<u32, Option<Id>>) -> Result<()> {
        let mut wanted: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (number, id) in there {
            let Some(id) = id else { continue };
            wanted.entry(database_key(id)).or_insert_with(|| number.to_be_bytes().to_vec().into());
        }
        for (key, row) in scan_all(rows, Scan::prefix(META, b"i")).await? {
            // Of one whose entries cannot be read the list is all there is.
            let listed = row[..].try_into().ok().map(u32::from_be_bytes).and_then(|number| there.get(&number));
            match wanted.remove(&key) {
                Some(number) if number == row => {}
                None if listed == Some(&None) && key.len() == 33 => {}
                Some(number) => {
                    self.problem("a database has a wrong number in the list of databases");
                    self.batch.put(META, key, number);
                }
                None => {
                    self.problem("the list of databases has one that is not here");
                    self.batch.delete(META, key);
                }
            }
        }
        for (key, number) in wanted {
            self.problem("a database is missing in the list of databases");
            self.batch.put(META, key, number);
        }
        Ok(())
    }

    async fn strays(&mut self, rows: &dyn Snapshot, there: &BTreeMap<u32, Option<Id>>) -> Result<()> {
        for kind in [b"d", b"p", b"r"] {
            for (key, _) in scan_all(rows, Scan::prefix(META, kind)).await? {
                let number = key.get(1..5).and_then(|number| Some(u32::from_be_bytes(number.try_into().ok()?)));
                let fits = kind == b"p" || key.len() == 5;
                if !fits || number.is_none_or(|number| !there.contains_key(&number)) {
                    self.problem("there are rows of a database that is not here");
                    self.batch.delete(META, key);
                }
            }
        }
        for keyspace in DERIVED {
            let mut start = Some(Bytes::new());
            for number in there.keys() {
                let own = Scan::prefix(keyspace, &DatabaseNumber(*number).prefix());
                if let Some(start) = start.filter(|start| *start < own.start) {
                    self.range(rows, keyspace, start, Some(own.start)).await?;
                }
                start = own.end;
            }
            if let Some(start) = start {
                self.range(rows, keyspace, start, None).await?;
            }
        }
        Ok(())
    }

    async fn range(&mut self, rows: &dyn Snapshot, keyspace: Keyspace, start: Bytes, end: Option<Bytes>) -> Result<()> {
        let found = rows.scan(Scan::range(keyspace, start.clone(), end.clone()).rows(1)).await?;
        if !found.rows.is_empty() {
            self.problem("there are rows of a database that is not here");
            self.batch.delete_range(keyspace, start, end);
        }
        Ok(())
    }
}

/// The databases that entries are of, by number; `None` where they cannot be read.
async fn by_entries(rows: &dyn Snapshot) -> Result<BTreeMap<u32, Option<Id>>> {
    let (mut found, mut next) = (BTreeMap::new(), Some(Bytes::new()));
    while let Some(start) = next {
        let page = rows.scan(Scan::range(ENTRIES, start, None).rows(1)).await?;
        let Some((key, _)) = page.rows.first() else { break };
        let Some(number) = key.first_chunk::<4>().map(|number| u32::from_be_bytes(*number)) else {
            next = Some([&key[..], &[0]].concat().into());
            continue;
        };
        let number = DatabaseNumber(number);
        if let Some(owner) = owner(rows, number).await? {
            found.insert(number.0, owner);
        }
        next = Scan::prefix(ENTRIES, &number.prefix()).end;
    }
    Ok(found)
}
