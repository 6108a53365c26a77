//! Checking a database against itself: every signature, every rule of the door, every row that follows from the entries.

use std::collections::BTreeMap;

use eidetica_contract::{ErrorKind, Result};

use super::check::Check;
use super::database::Database;
use crate::id::Id;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many entries were checked.
    pub entries: u64,
    /// How many cells of stores were compared with a replay of their operations.
    pub cells: u64,
    /// How many rows of secondary indexes were compared.
    pub index_rows: u64,
    /// What is wrong. At most a thousand are listed.
    pub problems: Vec<Problem>,
    /// Deltas that are in the history without effect, because their kind cannot read them: entry and store. No fault of
    /// this store.
    pub unreadable: Vec<(Id, String)>,
    /// Stores whose kind is not known here, so that their state could not be checked.
    pub unknown_kinds: Vec<String>,
    /// Stores that lack bodies here, ordered by name and kind. What is here is sound, but it is not all there is, and what
    /// shows of these stores was not compared.
    pub missing_bodies: Vec<MissingBodies>,
}

/// A store of which bodies are missing here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingBodies {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How many entries lack the body for it.
    pub entries: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What, in words.
    pub what: String,
    /// The entry it concerns, if it concerns one.
    pub entry: Option<Id>,
    /// True if [`Database::reindex`] mends it: the entries themselves are sound.
    pub reindex_mends: bool,
}

/// How many problems are listed.
pub(super) const MAX_PROBLEMS: usize = 1000;

impl Database {
    /// Checks everything that can be checked, on one snapshot, while the database is in use.
    ///
    /// Signatures, ids and order of the entries; hashes of their bodies; the rights of their authors; the indexes; the
    /// fingerprints; the heads; and every live record against a replay of all operations at its cell.
    ///
    /// A report may be clean, and the database not whole: see [`Report::is_whole`].
    ///
    /// Errors: [`ErrorKind::Locked`] while the database is being rebuilt; those of the backend. What is wrong with the data
    /// stands in the report, also where rows cannot be read at all. Cancellation: nothing has changed.
    #[tracing::instrument(skip_all)]
    pub async fn verify(&self) -> Result<Report> {
        // What has come late is evaluated first, or it would look like a fault. Where rows cannot be read, that is found below.
        match self.evaluate_stale().await {
            Err(error) if error.kind() != ErrorKind::Corrupted => return Err(error),
            _ => {}
        }
        let rows = self.core.storage.snapshot().await?;
        let mut check = Check::begin(&self.core, &*rows).await?;
        check.entries().await?;
        check.counters();
        check.epochs().await?;
        check.counts().await?;
        check.blocks().await?;
        check.bodies();
        for info in check.catalog.all() {
            check.store(&info).await?;
        }
        Ok(check.report)
    }
}

impl Report {
    /// True if nothing is wrong with what is here.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// True if no body is missing here. One that is missing is no damage: an entry may come without it, and be completed
    /// later.
    pub fn is_whole(&self) -> bool {
        self.missing_bodies.is_empty()
    }

    /// How often each problem was found.
    pub fn summary(&self) -> BTreeMap<&str, usize> {
        let mut summary = BTreeMap::new();
        for problem in &self.problems {
            *summary.entry(problem.what.as_str()).or_default() += 1;
        }
        summary
    }
}
