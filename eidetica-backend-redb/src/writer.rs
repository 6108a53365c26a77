//! What a batch does in a transaction of redb.

use eidetica_contract::{Error, ErrorKind, Keyspace, Operation, Result, WriteBatch};
use redb::{Durability, ReadableTable, StorageError, Table, WriteTransaction};

use crate::tables;

/// What is written where it is called.
const INLINE_BYTES: usize = 256 << 10;
const INLINE_OPERATIONS: usize = 1024;

/// True for a batch that is written faster than a thread is woken.
pub(crate) fn is_small(batch: &WriteBatch) -> bool {
    let expected = batch.expectations.iter().filter_map(|expectation| expectation.value.as_ref());
    let bytes = batch.operations.iter().map(size).chain(expected.map(|value| value.len())).sum::<usize>();
    bytes <= INLINE_BYTES && batch.operations.len() <= INLINE_OPERATIONS
}

fn size(operation: &Operation) -> usize {
    match operation {
        Operation::Put { key, value, .. } => key.len() + value.len(),
        Operation::Delete { key, .. } => key.len(),
        // Nobody knows how many rows a range has.
        _ => INLINE_BYTES + 1,
    }
}

/// Refuses what a later version of the contract may ask for, before anything takes effect.
pub(crate) fn check_known(batch: &WriteBatch) -> Result<()> {
    let known = |operation: &&Operation| {
        matches!(operation, Operation::Put { .. } | Operation::Delete { .. } | Operation::DeleteRange { .. })
    };
    match batch.operations.iter().find(|operation| !known(operation)) {
        None => Ok(()),
        Some(unknown) => {
            let message = "this backend is older than the operation; update it";
            Err(Error::new(ErrorKind::Unsupported, message).with("operation", format!("{unknown:?}")))
        }
    }
}

/// Why a batch was not applied.
pub(crate) enum Failed {
    /// An expectation did not hold.
    Expected(Error),
    Redb(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::Redb(error.into())
    }
}

/// Applies a batch, visible when this returns and not yet durable. A transaction that is dropped halfway has never been.
pub(crate) fn apply(mut transaction: WriteTransaction, batch: &WriteBatch) -> std::result::Result<(), Failed> {
    transaction.set_durability(Durability::None)?;
    let mut tables = Tables { transaction: &transaction, open: [const { None }; Keyspace::COUNT as usize] };
    for expectation in &batch.expectations {
        let found = tables.of(expectation.keyspace)?.get(&expectation.key[..])?;
        if found.as_ref().map(|value| value.value()) != expectation.value.as_deref() {
            return Err(Failed::Expected(expectation.failed()));
        }
    }
    for operation in &batch.operations {
        perform(&mut tables, operation)?;
    }
    drop(tables);
    Ok(transaction.commit()?)
}

/// The tables that a transaction has used so far: opening one is work.
struct Tables<'a> {
    transaction: &'a WriteTransaction,
    open: [Option<Table<'a, &'static [u8], &'static [u8]>>; Keyspace::COUNT as usize],
}

impl<'a> Tables<'a> {
    fn of(
        &mut self,
        keyspace: Keyspace,
    ) -> std::result::Result<&mut Table<'a, &'static [u8], &'static [u8]>, redb::TableError> {
        match &mut self.open[keyspace.number() as usize] {
            Some(table) => Ok(table),
            none => Ok(none.insert(self.transaction.open_table(tables::of(keyspace))?)),
        }
    }
}

fn perform(tables: &mut Tables<'_>, operation: &Operation) -> std::result::Result<(), redb::Error> {
    match operation {
        Operation::Put { keyspace, key, value } => {
            tables.of(*keyspace)?.insert(&key[..], &value[..])?;
        }
        Operation::Delete { keyspace, key } => {
            tables.of(*keyspace)?.remove(&key[..])?;
        }
        // redb panics over a range whose end comes before its start.
        Operation::DeleteRange { start, end: Some(end), .. } if start >= end => {}
        Operation::DeleteRange { keyspace, start, end: Some(end) } => {
            tables.of(*keyspace)?.retain_in::<&[u8], _>(&start[..]..&end[..], |_, _| false)?;
        }
        Operation::DeleteRange { keyspace, start, end: None } => {
            tables.of(*keyspace)?.retain_in::<&[u8], _>(&start[..].., |_, _| false)?;
        }
        // `check_known` has let none in.
        _ => return Err(StorageError::Unsupported.into()),
    }
    Ok(())
}
