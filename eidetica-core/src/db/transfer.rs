//! The whole history of a database as one stream of bytes.
//!
//! The stream is the magic text `eidetica-export 1` and a newline, then each entry, parents first, as a CBOR list of header and bodies, led
//! by its length (32 bits, big-endian), then a length of 0, the number of entries (64 bits), and the BLAKE3-256 hash of
//! everything before it.

use std::io::{Read, Write};

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};

use super::database::Database;
use super::entries::StoredEntry;
use super::ingest::{Outcome, Parked};
use crate::cbor::{Read as Parse, Reader, Writer};
use crate::engine::Engine;
use crate::entry::{Header, RawEntry};
use crate::error::invalid;
use crate::id::Id;
use crate::key::SecretKey;
use crate::layout::trailing_number;
use crate::limits::{MAX_BODIES, MAX_HEADER};

const MAGIC: &[u8] = b"eidetica-export 1\n";
/// The longest entry in a stream: header, bodies, and their framing.
const MAX_ENTRY: usize = MAX_HEADER + MAX_BODIES + 64 * 1024;
/// How many entries are handed in at once.
const PAGE: usize = 1024;
/// How many bytes are handed in at once.
const PAGE_BYTES: usize = 8 << 20;

/// What an export or import has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// How many bytes of the stream.
    pub bytes: u64,
}

impl Database {
    /// Writes the whole history, as of now, to a stream.
    ///
    /// Errors: [`ErrorKind::Io`] if the stream refuses bytes. It then holds a part that [`Engine::import`] refuses.
    pub async fn export(&self, out: &mut (impl Write + Send)) -> Result<Exported> {
        let mut out = Hashing { inner: out, hasher: blake3::Hasher::new(), bytes: 0 };
        out.write(MAGIC)?;
        let end = self.core.current().await?.meta.next;
        let mut at = 0;
        while at < end {
            let rows = self.core.storage.snapshot().await?;
            let page = rows.scan(self.core.number.entries(at, end).bytes(1 << 20)).await?;
            for (key, row) in &page.rows {
                let stored = StoredEntry::parse(trailing_number(key), row)?;
                let entry = encode(&stored.entry.to_raw());
                out.write(&(entry.len() as u32).to_be_bytes())?;
                out.write(&entry)?;
                at = stored.number + 1;
            }
            if page.rows.is_empty() {
                return Err(crate::error::damaged("an entry is missing"));
            }
        }
        out.write(&0u32.to_be_bytes())?;
        out.write(&end.to_be_bytes())?;
        let hash = *out.hasher.finalize().as_bytes();
        out.write(&hash)?;
        out.inner.flush().map_err(not_written)?;
        Ok(Exported { entries: end, bytes: out.bytes })
    }
}

impl Engine {
    /// Reads a history from a stream: makes its database known, or adds what is missing to it. Every entry passes the door.
    ///
    /// Entries that are further ahead of the clock here than [`Options::allowed_skew`](crate::Options::allowed_skew) wait,
    /// and so does what stands on them: a history that was written by a clock that was ahead, even one's own, cannot be taken
    /// up before that time. Only a root is taken at any time, since it is named and not found. What waits comes in by itself
    /// if the store stays open until then; to import it now, set the clock right or allow more skew, and import again.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] if the stream is cut off, damaged or no export, and if an entry is ahead of the
    /// clock, which the message says, with the entry's time; entries before the damage, or before that entry, stay.
    pub async fn import(&self, input: &mut (impl Read + Send), key: Option<SecretKey>) -> Result<(Database, Exported)> {
        let mut input = HashingReader { inner: input, hasher: blake3::Hasher::new(), bytes: 0 };
        if input.take(MAGIC.len())? != MAGIC {
            return Err(invalid("the file is no export of a database"));
        }
        let mut page = Vec::new();
        let mut page_bytes = 0;
        let mut database: Option<Database> = None;
        let mut entries = 0;
        loop {
            let length = input.take(4)?;
            let length = u32::from_be_bytes(length[..].try_into().map_err(|_| cut_off())?) as usize;
            if length > 0 {
                if length > MAX_ENTRY {
                    return Err(invalid("the file is damaged: an entry is longer than entries can be"));
                }
                let raw = decode(&input.take(length)?.into())?;
                entries += 1;
                if database.is_none() {
                    database = Some(self.adopt_database(raw, key.clone()).await?);
                    continue;
                }
                page_bytes += length;
                page.push(raw);
            }
            if let Some(database) =
                database.as_ref().filter(|_| length == 0 || page.len() >= PAGE || page_bytes >= PAGE_BYTES)
            {
                hand_in(database, std::mem::take(&mut page)).await?;
                page_bytes = 0;
            }
            if length == 0 {
                break;
            }
        }
        let count = input.take(8)?;
        let hash = *input.hasher.finalize().as_bytes();
        if count != u64::to_be_bytes(entries) || input.take(32)? != hash {
            return Err(invalid("the file is damaged: its end does not fit the rest"));
        }
        let database = database.ok_or_else(|| invalid("the export holds no entry"))?;
        database.flush().await?;
        Ok((database, Exported { entries, bytes: input.bytes }))
    }
}

async fn hand_in(database: &Database, page: Vec<RawEntry>) -> Result<()> {
    let headers: Vec<Bytes> = page.iter().map(|raw| raw.header.clone()).collect();
    for (outcome, header) in database.ingest(page, "import").await?.into_iter().zip(headers) {
        match outcome {
            Outcome::Accepted | Outcome::Known | Outcome::Completed => {}
            Outcome::Parked(Parked::Future) => return Err(ahead(database, &header)),
            Outcome::Refused(reason) => {
                return Err(invalid("the export holds an entry that is refused").with("reason", reason));
            }
            other => {
                let error = invalid("the export holds an entry that cannot be taken up now");
                return Err(error.with("outcome", format!("{other:?}")));
            }
        }
    }
    Ok(())
}

fn ahead(database: &Database, header: &[u8]) -> Error {
    let message = "the export holds an entry that is further ahead of the clock here than is allowed; \
                   set the clock right, or allow more skew, and import again";
    let options = &database.core.storage.options;
    let millis = Header::read(header).map_or(0, |header| header.time.millis());
    invalid(message)
        .with("entry", Id::of(header))
        .with("its_millis", millis)
        .with("clock_millis", options.environment.now().millis())
        .with("allowed_skew_seconds", options.allowed_skew.as_secs())
}

fn encode(raw: &RawEntry) -> Vec<u8> {
    let mut out = Writer::new();
    out.list(2).bytes(&raw.header).list(raw.bodies.len());
    for body in &raw.bodies {
        match body {
            Some(body) => out.bytes(body),
            None => out.null(),
        };
    }
    out.finish()
}

fn decode(bytes: &Bytes) -> Result<RawEntry> {
    let mut input = Reader::new(bytes);
    let mut read = || -> Parse<RawEntry> {
        input.list_of(2)?;
        let header = crate::cbor::share(bytes, input.bytes()?);
        let mut bodies = Vec::new();
        for _ in 0..input.list(crate::limits::MAX_STORES)? {
            bodies.push(if input.is_null()? { None } else { Some(crate::cbor::share(bytes, input.bytes()?)) });
        }
        input.end()?;
        Ok(RawEntry { header, bodies })
    };
    read().map_err(|_| invalid("the file is damaged: an entry cannot be read"))
}

struct Hashing<'a, W> {
    inner: &'a mut W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.inner.write_all(bytes).map_err(not_written)
    }
}

struct HashingReader<'a, R> {
    inner: &'a mut R,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> HashingReader<'_, R> {
    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_off(),
            _ => Error::new(ErrorKind::Io, "the file cannot be read").caused_by(error),
        })?;
        self.hasher.update(&bytes);
        self.bytes += length as u64;
        Ok(bytes)
    }
}

fn cut_off() -> Error {
    invalid("the file is cut off; export again")
}

fn not_written(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Io,
    };
    Error::new(kind, "the export cannot be written").caused_by(error)
}
