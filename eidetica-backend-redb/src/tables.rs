//! The tables in the file: one per keyspace, and one of our own.

use eidetica_contract::Keyspace;
use redb::{Database, ReadTransaction, TableDefinition};

pub(crate) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Counts the checks, so that one can be told from an earlier state of the file.
pub(crate) const CHECKS: TableDefinition<'static, (), u64> = TableDefinition::new("checks");

const NAMES: [&str; Keyspace::COUNT as usize] =
    ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9", "k10", "k11", "k12", "k13", "k14", "k15"];

/// The table of a keyspace.
pub(crate) fn of(keyspace: Keyspace) -> Rows {
    TableDefinition::new(NAMES[keyspace.number() as usize])
}

/// Creates all tables, durably.
pub(crate) fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for keyspace in Keyspace::all() {
        transaction.open_table(of(keyspace))?;
    }
    transaction.open_table(CHECKS)?;
    Ok(transaction.commit()?)
}

/// An error if one is missing.
pub(crate) fn check(transaction: &ReadTransaction) -> Result<(), redb::Error> {
    for keyspace in Keyspace::all() {
        transaction.open_table(of(keyspace))?;
    }
    transaction.open_table(CHECKS)?;
    Ok(())
}
