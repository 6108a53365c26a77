//! The whole history of a database as one stream of bytes.
//!
//! The stream is the magic text `eidetica-export 1` and a newline, then each entry, parents first, as a CBOR list of header and bodies, led
//! by its length (32 bits, big-endian), then a length of 0, the number of entries (64 bits), and the BLAKE3-256 hash of
//! everything before it. Nothing follows.

use std::io::{Read, Write};

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};

use super::database::Database;
use super::entries::StoredEntry;
use super::ingest::{Outcome, Parked};
use crate::cbor::{Read as Parse, Reader, Writer};
use crate::engine::Engine;
use crate::entry::{Body, Header, RawEntry};
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
const PAGE_BYTES: u64 = 8 << 20;

/// What an export or import has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// How many bytes of the stream.
    pub bytes: u64,
    /// How many bodies the entries lack: those that the exporting store did not have.
    pub missing_bodies: u64,
}

impl Database {
    /// Writes the whole history, as of now, to a stream: the live set, so without what was struck and carries nothing. Bodies that are missing here are missing there.
    ///
    /// Errors: [`ErrorKind::Io`] and [`ErrorKind::Full`] if the stream refuses bytes; [`ErrorKind::Corrupted`] for an entry
    /// that cannot be read; those of the backend. Cancellation and errors: the stream then holds a part that
    /// [`Engine::import`] refuses.
    pub async fn export(&self, out: &mut (impl Write + Send)) -> Result<Exported> {
        let mut out = Hashing { inner: out, hasher: blake3::Hasher::new(), bytes: 0 };
        out.write(MAGIC)?;
        let state = self.core.current().await?;
        let (end, dead) = (state.meta.next, &state.marks.dead);
        let count = end - dead.len();
        let (mut at, mut missing_bodies) = (0, 0);
        while at < end {
            let rows = self.core.storage.snapshot().await?;
            let page = rows.scan(self.core.number.entries(at, end).bytes(1 << 20)).await?;
            for (key, row) in &page.rows {
                at = trailing_number(key) + 1;
                if dead.contains(at - 1) {
                    continue;
                }
                let stored = StoredEntry::parse(at - 1, row)?;
                if !stored.entry.deltas().all(|(delta, body)| body.as_ref().is_none_or(|body| delta.fits(body))) {
                    let error = crate::error::damaged("a body is not the one that its entry commits to");
                    return Err(error.with("entry", stored.entry.id()));
                }
                missing_bodies += absent(stored.entry.bodies());
                let entry = encode(&stored.entry.to_raw());
                out.write(&(entry.len() as u32).to_be_bytes())?;
                out.write(&entry)?;
            }
            if page.rows.is_empty() {
                return Err(crate::error::damaged("an entry is missing"));
            }
        }
        out.write(&0u32.to_be_bytes())?;
        out.write(&count.to_be_bytes())?;
        let hash = *out.hasher.finalize().as_bytes();
        out.write(&hash)?;
        out.inner.flush().map_err(not_written)?;
        Ok(Exported { entries: count, bytes: out.bytes, missing_bodies })
    }
}

impl Exported {
    /// Reads a stream to its end and checks all that can be checked without a store: its form, its lengths, the hash over
    /// all of it, and that each body is the one that its header commits to. Nothing is kept of it.
    ///
    /// Whoever can read the same bytes twice calls this first, so that [`Engine::import`] does not stop halfway.
    ///
    /// Errors: [`ErrorKind::InvalidInput`] if the stream is cut off, damaged or no export; [`ErrorKind::Io`] if it cannot
    /// be read.
    pub fn check(input: &mut impl Read) -> Result<Exported> {
        let mut stream = Stream::begin(input)?;
        while stream.next()?.is_some() {}
        Ok(stream.moved())
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
    /// The stream is read to its end. Errors: [`ErrorKind::InvalidInput`] if it is cut off, damaged, goes on behind the end of
    /// the export, holds an entry that is refused or is ahead of the
    /// clock (which the message says, with the entry's time), or is no export; [`ErrorKind::Io`] if it cannot be read; those
    /// of the backend. Entries before the error stay: the context pairs `database` and `entries_kept` tell which database
    /// holds them and how many it holds. [`Exported::check`] tells before anything is written. Cancellation: as after an
    /// error.
    pub async fn import(&self, input: &mut (impl Read + Send), key: Option<SecretKey>) -> Result<(Database, Exported)> {
        let mut stream = Stream::begin(input)?;
        let mut database = None;
        match self.take_up(&mut stream, key, &mut database).await {
            Ok(database) => Ok((database, stream.moved())),
            Err(error) => Err(with_kept(error, database.as_ref()).await),
        }
    }

    async fn take_up<R: Read + Send>(
        &self,
        stream: &mut Stream<'_, R>,
        key: Option<SecretKey>,
        known: &mut Option<Database>,
    ) -> Result<Database> {
        let root = stream.next()?.ok_or_else(|| invalid("the export holds no entry"))?;
        let database = known.insert(self.adopt_database(root, key).await?);
        let mut page = Vec::new();
        let mut page_begin = stream.input.bytes;
        loop {
            let raw = stream.next()?;
            let end = raw.is_none();
            page.extend(raw);
            if end || page.len() >= PAGE || stream.input.bytes - page_begin >= PAGE_BYTES {
                hand_in(database, std::mem::take(&mut page)).await?;
                page_begin = stream.input.bytes;
            }
            if end {
                break;
            }
        }
        database.flush().await?;
        Ok(database.clone())
    }
}

/// An error in the middle of an import, with what it leaves behind.
async fn with_kept(error: Error, database: Option<&Database>) -> Error {
    let Some(database) = database else { return error };
    let error = error.with("database", database.root_id());
    match database.entry_count().await {
        Ok(kept) => error.with("entries_kept", kept).with(
            "kept",
            "what the database holds now is sound and not all of it; importing a sound file completes it",
        ),
        // The error that came first says more.
        Err(_) => error,
    }
}

async fn hand_in(database: &Database, page: Vec<RawEntry>) -> Result<()> {
    let headers: Vec<Bytes> = page.iter().map(|raw| raw.header.clone()).collect();
    for (outcome, header) in Box::pin(database.take_up(page, "import", true)).await?.into_iter().zip(headers) {
        match outcome {
            Outcome::Accepted | Outcome::Known | Outcome::Completed => {}
            // What it carries comes later, and brings it in.
            Outcome::Void => {}
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

/// A stream that is being read.
struct Stream<'a, R> {
    input: HashingReader<'a, R>,
    entries: u64,
    missing_bodies: u64,
}

impl<'a, R: Read> Stream<'a, R> {
    fn begin(input: &'a mut R) -> Result<Stream<'a, R>> {
        let mut input = HashingReader { inner: input, hasher: blake3::Hasher::new(), bytes: 0 };
        match input.take(MAGIC.len()) {
            Ok(magic) if magic == MAGIC => Ok(Stream { input, entries: 0, missing_bodies: 0 }),
            // Too short to tell is no export, too.
            Err(error) if error.kind() != ErrorKind::InvalidInput => Err(error),
            _ => Err(invalid("this is no export of a database; name a file that `export` has written")),
        }
    }

    /// The next entry, whose bodies are those of its header. `None`: the stream has ended as it must.
    fn next(&mut self) -> Result<Option<RawEntry>> {
        let length = self.input.take(4)?;
        let length = u32::from_be_bytes(length[..].try_into().map_err(|_| cut_off())?) as usize;
        if length == 0 {
            let count = self.input.take(8)?;
            let hash = *self.input.hasher.finalize().as_bytes();
            if count != u64::to_be_bytes(self.entries) || self.input.take(32)? != hash {
                return Err(damaged("its end does not fit the rest"));
            }
            if !self.input.is_at_end()? {
                return Err(damaged("something follows its end"));
            }
            return Ok(None);
        }
        if length > MAX_ENTRY {
            return Err(damaged("an entry is longer than entries can be").with("entry", self.entries));
        }
        let raw = decode(&self.input.take(length)?.into()).map_err(|error| error.with("entry", self.entries))?;
        // The door would leave such a body out, as if it had not been sent. Here it was, and so the file is damaged.
        if let Ok(header) = Header::read(&raw.header)
            && !header.stores.iter().zip(&raw.bodies).all(|(store, body)| body.as_ref().is_none_or(|b| store.fits(b)))
        {
            return Err(damaged("a body is not the one that its entry commits to").with("entry", self.entries));
        }
        self.entries += 1;
        self.missing_bodies += absent(&raw.bodies);
        Ok(Some(raw))
    }

    fn moved(&self) -> Exported {
        Exported { entries: self.entries, bytes: self.input.bytes, missing_bodies: self.missing_bodies }
    }
}

fn absent(bodies: &[Body]) -> u64 {
    bodies.iter().filter(|body| body.is_none()).count() as u64
}

fn damaged(how: &'static str) -> Error {
    invalid("the file is damaged; export again, or take another copy of it").with("damage", how)
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
    read().map_err(|_| damaged("an entry cannot be read"))
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
    fn is_at_end(&mut self) -> Result<bool> {
        match self.inner.read_exact(&mut [0]) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(not_read(error)),
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_off(),
            _ => not_read(error),
        })?;
        self.hasher.update(&bytes);
        self.bytes += length as u64;
        Ok(bytes)
    }
}

fn cut_off() -> Error {
    invalid("the file is cut off; export again, or take another copy of it")
}

fn not_read(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the file cannot be read").caused_by(error)
}

fn not_written(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Io,
    };
    Error::new(kind, "the export cannot be written").caused_by(error)
}
