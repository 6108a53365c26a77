//! What is said on the stream: frames of a length in four bytes, big endian, and so many bytes of CBOR.
//!
//! The lender begins with a [`Hello`]. From then on the borrower says [`Asked`] and the lender [`Answered`], each call
//! numbered by the borrower, in whatever order answers come to be.

use bytes::Bytes;
use eidetica_contract::{
    BackendInfo, Capabilities, Direction, Error, ErrorKind, Expectation, Keyspace, Limits, Maintenance, Operation,
    Page, Result, Retry, Scan, WriteBatch,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::SpokenError;

/// The version of what is said.
pub(crate) const VERSION: u32 = 1;

/// The longest frame, in bytes.
const LONGEST: u32 = 256 << 20;

/// How the lender begins: what the store is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: u32,
    name: String,
    location: String,
    max_key: u64,
    max_value: u64,
    durable: bool,
    compact: bool,
    check: bool,
}

/// A call. What was let go of since the last one goes along.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    /// Snapshots that are needed no longer.
    pub(crate) released: Vec<u64>,
    pub(crate) call: Option<Call>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    Commit(Batch),
    Flush,
    /// Take a snapshot, which the number of this call names from then on.
    Snapshot,
    Get {
        snapshot: u64,
        keyspace: u8,
        keys: Vec<Bytes>,
    },
    Scan {
        snapshot: u64,
        range: Range,
    },
    Changed,
    Maintain(Job),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Values(Vec<Option<Bytes>>),
    Page { rows: Vec<(Bytes, Bytes)>, more: bool },
    Changed(u64),
    Failed(SpokenError),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Batch {
    expectations: Vec<(u8, Bytes, Option<Bytes>)>,
    operations: Vec<Change>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Change {
    Put(u8, Bytes, Bytes),
    Delete(u8, Bytes),
    DeleteRange(u8, Bytes, Option<Bytes>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Range {
    keyspace: u8,
    start: Bytes,
    end: Option<Bytes>,
    backward: bool,
    max_rows: u64,
    max_bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    Compact,
    Check,
}

impl Hello {
    pub(crate) fn of(info: BackendInfo) -> Hello {
        let BackendInfo { name, location, limits, capabilities: can, .. } = info;
        Hello {
            version: VERSION,
            name,
            location,
            max_key: limits.max_key as u64,
            max_value: limits.max_value as u64,
            durable: can.durable,
            compact: can.compact,
            check: can.check,
        }
    }

    pub(crate) fn info(self) -> BackendInfo {
        let mut info = BackendInfo::new(self.name, self.location);
        let mut limits = Limits::default();
        (limits.max_key, limits.max_value) = (length(self.max_key), length(self.max_value));
        info.limits = limits;
        let mut can = Capabilities::none().shared();
        (can.durable, can.compact, can.check) = (self.durable, self.compact, self.check);
        info.capabilities = can;
        info
    }
}

impl TryFrom<WriteBatch> for Batch {
    type Error = Error;

    /// Errors: `Unsupported` for an operation that this version does not know.
    fn try_from(batch: WriteBatch) -> Result<Batch> {
        let expectation = |e: Expectation| (e.keyspace.number(), e.key, e.value);
        let change = |operation| match operation {
            Operation::Put { keyspace, key, value } => Ok(Change::Put(keyspace.number(), key, value)),
            Operation::Delete { keyspace, key } => Ok(Change::Delete(keyspace.number(), key)),
            Operation::DeleteRange { keyspace, start, end } => Ok(Change::DeleteRange(keyspace.number(), start, end)),
            _ => Err(Error::new(ErrorKind::Unsupported, "this version cannot lend such an operation")),
        };
        Ok(Batch {
            expectations: batch.expectations.into_iter().map(expectation).collect(),
            operations: batch.operations.into_iter().map(change).collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<Batch> for WriteBatch {
    type Error = Error;

    fn try_from(said: Batch) -> Result<WriteBatch> {
        let mut batch = WriteBatch::new();
        for (number, key, value) in said.expectations {
            let keyspace = keyspace(number)?;
            match value {
                Some(value) => batch.expect_value(keyspace, key, value),
                None => batch.expect_absent(keyspace, key),
            }
        }
        for change in said.operations {
            match change {
                Change::Put(number, key, value) => batch.put(keyspace(number)?, key, value),
                Change::Delete(number, key) => batch.delete(keyspace(number)?, key),
                Change::DeleteRange(number, start, end) => batch.delete_range(keyspace(number)?, start, end),
            }
        }
        Ok(batch)
    }
}

impl From<Scan> for Range {
    fn from(scan: Scan) -> Range {
        Range {
            keyspace: scan.keyspace.number(),
            start: scan.start,
            end: scan.end,
            backward: scan.direction == Direction::Backward,
            max_rows: scan.max_rows as u64,
            max_bytes: scan.max_bytes as u64,
        }
    }
}

impl TryFrom<Range> for Scan {
    type Error = Error;

    fn try_from(said: Range) -> Result<Scan> {
        let scan = Scan::range(keyspace(said.keyspace)?, said.start, said.end);
        let scan = scan.rows(length(said.max_rows)).bytes(length(said.max_bytes));
        Ok(if said.backward { scan.backward() } else { scan })
    }
}

impl From<Page> for Answer {
    fn from(page: Page) -> Answer {
        Answer::Page { rows: page.rows, more: page.more }
    }
}

impl Job {
    /// Errors: `Unsupported` for a job that this version does not know.
    pub(crate) fn of(job: Maintenance) -> Result<Job> {
        match job {
            Maintenance::Compact => Ok(Job::Compact),
            Maintenance::Check => Ok(Job::Check),
            _ => {
                let message = "this version cannot have such a job done";
                Err(Error::new(ErrorKind::Unsupported, message).with("job", format!("{job:?}")))
            }
        }
    }
}

impl From<Job> for Maintenance {
    fn from(job: Job) -> Maintenance {
        match job {
            Job::Compact => Maintenance::Compact,
            Job::Check => Maintenance::Check,
        }
    }
}

pub(crate) fn keyspace(number: u8) -> Result<Keyspace> {
    Keyspace::from_number(number).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "there is no keyspace of this number").with("keyspace", number)
    })
}

fn length(said: u64) -> usize {
    usize::try_from(said).unwrap_or(usize::MAX)
}

/// A message as a frame. Errors: `TooLarge`.
pub(crate) fn frame(message: &impl Serialize) -> Result<Vec<u8>> {
    let body = minicbor_serde::to_vec(message)
        .map_err(|error| Error::new(ErrorKind::Internal, "a message cannot be written").caused_by(error))?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= LONGEST).ok_or_else(|| {
        let message = "this is too much at once for a store that another process lends; use smaller batches or pages";
        Error::new(ErrorKind::TooLarge, message).with("bytes", body.len()).with("limit", LONGEST)
    })?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<()> {
    stream.write_all(frame).await.map_err(|error| lost().caused_by(error))
}

/// The next message; `None` where the stream ends between two. Not safe to drop half-way.
///
/// Errors: `Closed` if the stream ends within one; `InvalidInput` for what is none.
pub(crate) async fn read<M: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<M>> {
    let mut length = [0; 4];
    match stream.read(&mut length[..1]).await {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(lost().caused_by(error)),
    }
    stream.read_exact(&mut length[1..]).await.map_err(|error| lost().caused_by(error))?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(strange().with("bytes", length).with("limit", LONGEST));
    }
    // Memory comes with the bytes, not with what is announced.
    let mut body = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut body).await.map_err(|error| lost().caused_by(error))?;
    if body.len() < length as usize {
        return Err(lost());
    }
    minicbor_serde::from_slice(&body).map(Some).map_err(|error| strange().caused_by(error))
}

/// The other side is gone.
pub(crate) fn lost() -> Error {
    let message = "the process that has this store open has ended, or lends it no longer; open the store again";
    Error::new(ErrorKind::Closed, message).retry(Retry::Later)
}

/// The other side is gone, and it has been asked to write something.
pub(crate) fn unknown() -> Error {
    let message = "the process that has this store open has ended while it wrote; it is not known whether it has written all of it \
                   or nothing: open the store again, and look";
    Error::new(ErrorKind::Io, message)
}

/// The other side says what this one does not understand.
pub(crate) fn strange() -> Error {
    let message = "what the other process says of a lent store cannot be read; have both run the same version";
    Error::new(ErrorKind::InvalidInput, message)
}
