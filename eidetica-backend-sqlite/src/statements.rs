//! The SQL that the store speaks: one table per keyspace, the same few statements for each.

use std::sync::LazyLock;

use eidetica_contract::{Direction, Keyspace, Scan};

/// The statements of one keyspace. Connections keep what they prepared of them.
pub(crate) struct Statements {
    pub(crate) create: String,
    pub(crate) get: String,
    pub(crate) put: String,
    pub(crate) delete: String,
    pub(crate) delete_range: String,
    pub(crate) delete_from: String,
    forward_range: String,
    forward_from: String,
    backward_range: String,
    backward_from: String,
}

/// More than all statements of all keyspaces together, so that none is ever prepared twice on a connection.
pub(crate) const PREPARED: usize = 256;

pub(crate) fn of(keyspace: Keyspace) -> &'static Statements {
    static ALL: LazyLock<Vec<Statements>> = LazyLock::new(|| Keyspace::all().map(Statements::new).collect());
    &ALL[keyspace.number() as usize]
}

impl Statements {
    fn new(keyspace: Keyspace) -> Statements {
        let table = format!("k{}", keyspace.number());
        Statements {
            create: format!("CREATE TABLE {table} (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"),
            get: format!("SELECT v FROM {table} WHERE k = ?1"),
            // Without a second index SQLite makes this one descent that overwrites in place; an upsert would look first.
            put: format!("REPLACE INTO {table} (k, v) VALUES (?1, ?2)"),
            delete: format!("DELETE FROM {table} WHERE k = ?1"),
            delete_range: format!("DELETE FROM {table} WHERE k >= ?1 AND k < ?2"),
            delete_from: format!("DELETE FROM {table} WHERE k >= ?1"),
            forward_range: format!("SELECT k, v FROM {table} WHERE k >= ?1 AND k < ?2 ORDER BY k"),
            forward_from: format!("SELECT k, v FROM {table} WHERE k >= ?1 ORDER BY k"),
            backward_range: format!("SELECT k, v FROM {table} WHERE k >= ?1 AND k < ?2 ORDER BY k DESC"),
            backward_from: format!("SELECT k, v FROM {table} WHERE k >= ?1 ORDER BY k DESC"),
        }
    }

    /// The statement of a scan. Its parameters are the start and, if there is one, the end.
    pub(crate) fn scan(&self, scan: &Scan) -> &str {
        match (scan.direction, &scan.end) {
            (Direction::Forward, Some(_)) => &self.forward_range,
            (Direction::Forward, None) => &self.forward_from,
            (Direction::Backward, Some(_)) => &self.backward_range,
            (Direction::Backward, None) => &self.backward_from,
        }
    }
}
