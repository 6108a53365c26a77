//! A batch as bytes: length and checksum, then the operations. What a crash has cut off does not fit its checksum.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Keyspace, Operation, Result};

/// Length and checksum, four bytes each.
pub const HEAD: usize = 8;

/// The record of these operations.
///
/// Errors: `Unsupported` for an operation of a later version of the contract, `TooLarge` for more than 4 GiB.
pub fn write(operations: &[Operation]) -> Result<Vec<u8>> {
    let mut record = vec![0; HEAD];
    for operation in operations {
        match operation {
            Operation::Put { keyspace, key, value } => {
                record.extend([0, keyspace.number()]);
                put(&mut record, key);
                put(&mut record, value);
            }
            Operation::Delete { keyspace, key } => {
                record.extend([1, keyspace.number()]);
                put(&mut record, key);
            }
            Operation::DeleteRange { keyspace, start, end } => {
                record.extend([if end.is_some() { 2 } else { 3 }, keyspace.number()]);
                put(&mut record, start);
                if let Some(end) = end {
                    put(&mut record, end);
                }
            }
            _ => return Err(Error::new(ErrorKind::Unsupported, "this journal does not know such an operation")),
        }
    }
    let length = u32::try_from(record.len() - HEAD)
        .map_err(|_| Error::new(ErrorKind::TooLarge, "a batch of more than 4 GiB; commit it in parts"))?;
    record[..4].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32fast::hash(&record[HEAD..]);
    record[4..HEAD].copy_from_slice(&checksum.to_be_bytes());
    Ok(record)
}

/// The operations of the first record, and how long it is; `None` if there is no whole one.
pub fn read(bytes: &Bytes) -> Option<(Vec<Operation>, usize)> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let checksum = u32::from_be_bytes(bytes.get(4..HEAD)?.try_into().ok()?);
    let end = HEAD.checked_add(length)?;
    if bytes.len() < end || crc32fast::hash(&bytes[HEAD..end]) != checksum {
        return None;
    }
    let mut rest = bytes.slice(HEAD..end);
    let mut operations = Vec::new();
    while !rest.is_empty() {
        let kind = take(&mut rest, 1)?[0];
        let keyspace = Keyspace::from_number(take(&mut rest, 1)?[0])?;
        let key = get(&mut rest)?;
        operations.push(match kind {
            0 => Operation::Put { keyspace, key, value: get(&mut rest)? },
            1 => Operation::Delete { keyspace, key },
            2 => Operation::DeleteRange { keyspace, start: key, end: Some(get(&mut rest)?) },
            3 => Operation::DeleteRange { keyspace, start: key, end: None },
            _ => return None,
        });
    }
    Some((operations, end))
}

fn put(record: &mut Vec<u8>, bytes: &[u8]) {
    // Within the limits that `WriteBatch::check` has seen to.
    record.extend((bytes.len() as u32).to_be_bytes());
    record.extend(bytes);
}

fn get(rest: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(take(rest, 4)?[..].try_into().ok()?);
    take(rest, length as usize)
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}
