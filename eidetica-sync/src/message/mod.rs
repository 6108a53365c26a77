//! What peers say to each other inside a session: the kind of a message, and which database it is about.
//!
//! `docs/spec/wire.md`, chapter 12, has every byte. What is said about one database lies in [`reconcile`](crate::reconcile),
//! what concerns rights in [`access`](crate::access).

mod read;
mod tag;

use bytes::{BufMut, Bytes, BytesMut};
use eidetica_contract::Address;
use eidetica_core::Id;

use crate::access::Claim;
use crate::presence::Statement;
pub(crate) use tag::{Tag, TagKey};

/// The most databases that one message names.
pub(crate) const MAX_DATABASES: usize = 4096;
/// The most addresses that a peer tells.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// The longest scheme and the longest text of an address, in bytes.
pub(crate) const MAX_ADDRESS: usize = 1024;
/// The longest name of a database in a listing, in bytes; longer ones are cut.
pub(crate) const MAX_NAME: usize = 256;

/// What a caller asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Says where the caller can be reached, and shows what allows it to read databases; asks for the same.
    Introduce(Introduction),
    /// A message of [`reconcile`](crate::reconcile) about one database.
    About { database: Tag, body: Bytes },
    /// Asks to be told when a database has other heads than these. Answered at the latest after so many milliseconds. Of
    /// databases that are not here, or not for the caller, nothing is ever told.
    Watch { millis: u32, databases: Vec<Held> },
    /// A request for access, of [`access`](crate::access).
    Access(Bytes),
    /// Asks which databases the caller may read.
    Discover,
    /// The root entry of a database that the answerer wants and lacks: a reply of [`reconcile`](crate::reconcile) that
    /// holds it.
    Offer { database: Tag, root: Bytes },
    /// Nobody where the caller is wants these synced any longer: nothing more of them is to be sent there.
    Ended(Vec<Tag>),
    /// Who is here, as far as the caller knows.
    Tell(Vec<Said>),
    /// Asks to be told who is here. Answered at the latest after so many milliseconds.
    Listen { millis: u32, after: Mark, databases: Vec<Tag> },
}

/// What an answerer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The database is not here, or not for the caller: which of the two is not said.
    NotServed,
    /// The answerer does not know by which right the caller asks: introduce first.
    Introduce,
    /// The answer to an introduction.
    Introduced(Introduction),
    /// The answer to a message about one database.
    About(Bytes),
    /// Databases that have other heads than the caller said. None: the time is up.
    Changed(Vec<Held>),
    /// The answer to a request for access.
    Access(Bytes),
    /// Databases that the caller may read, and their names.
    Databases(Vec<(Id, String)>),
    /// The caller has shown a key of its own whose right to this database was taken away.
    Removed,
    /// The database is wanted, and nothing of it is here: offer it.
    Lacking,
    /// The offer was taken, or the end taken note of, or what was told.
    Taken,
    /// Who is here: all that is new since the mark of the caller, up to this one.
    Heard { upto: Mark, said: Vec<Said> },
}

/// Where a peer can be reached, and by which right it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Introduction {
    pub addresses: Vec<Address>,
    /// In a request: databases that the caller has or wants, and its claims to each. In a reply: those of them that are
    /// served to the caller, and the claims of the answerer.
    pub databases: Vec<(Tag, Vec<Claim>)>,
    /// Claims to be told of everything that a user may read.
    pub listing: Vec<Claim>,
}

/// A database, and a digest of its heads: in a request the one that the caller knows of, its own or what it was told last;
/// in a reply that of the answerer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub database: Tag,
    pub digest: [u8; 32],
}

/// A statement about a database, and how many hops it has made with this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub database: Tag,
    pub hops: u8,
    pub statement: Statement,
}

/// How much of what an answerer knows of who is here was told to a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Names the run of the answerer: numbers begin anew with each.
    pub run: u64,
    pub number: u64,
}

/// First bytes.
mod kind {
    pub const NOT_SERVED: u8 = 0x00;
    pub const INTRODUCE: u8 = 0x01;
    pub const ABOUT: u8 = 0x02;
    pub const WATCH: u8 = 0x03;
    pub const ACCESS: u8 = 0x04;
    pub const DISCOVER: u8 = 0x05;
    pub const INTRODUCE_FIRST: u8 = 0x06;
    pub const OFFER: u8 = 0x07;
    pub const LACKING: u8 = 0x08;
    pub const ENDED: u8 = 0x09;
    pub const REMOVED: u8 = 0x0a;
    pub const TELL: u8 = 0x0b;
    pub const LISTEN: u8 = 0x0c;
}

impl Request {
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Request::Introduce(introduction) => {
                out.put_u8(kind::INTRODUCE);
                introduction.write(&mut out);
            }
            Request::About { database, body } => {
                out.put_u8(kind::ABOUT);
                out.put_slice(&database.0);
                out.put_slice(body);
            }
            Request::Watch { millis, databases } => {
                out.put_u8(kind::WATCH);
                out.put_u32(*millis);
                databases.iter().for_each(|held| held.write(&mut out));
            }
            Request::Access(body) => {
                out.put_u8(kind::ACCESS);
                out.put_slice(body);
            }
            Request::Discover => out.put_u8(kind::DISCOVER),
            Request::Offer { database, root } => {
                out.put_u8(kind::OFFER);
                out.put_slice(&database.0);
                out.put_slice(root);
            }
            Request::Ended(databases) => {
                out.put_u8(kind::ENDED);
                databases.iter().for_each(|database| out.put_slice(&database.0));
            }
            Request::Tell(said) => {
                out.put_u8(kind::TELL);
                said.iter().for_each(|said| said.write(&mut out));
            }
            Request::Listen { millis, after, databases } => {
                out.put_u8(kind::LISTEN);
                out.put_u32(*millis);
                after.write(&mut out);
                databases.iter().for_each(|database| out.put_slice(&database.0));
            }
        }
        out.freeze()
    }
}

impl Reply {
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Reply::NotServed => out.put_u8(kind::NOT_SERVED),
            Reply::Introduce => out.put_u8(kind::INTRODUCE_FIRST),
            Reply::Lacking => out.put_u8(kind::LACKING),
            Reply::Removed => out.put_u8(kind::REMOVED),
            Reply::Taken => out.put_u8(kind::OFFER),
            Reply::Introduced(introduction) => {
                out.put_u8(kind::INTRODUCE);
                introduction.write(&mut out);
            }
            Reply::About(body) => {
                out.put_u8(kind::ABOUT);
                out.put_slice(body);
            }
            Reply::Changed(databases) => {
                out.put_u8(kind::WATCH);
                databases.iter().for_each(|held| held.write(&mut out));
            }
            Reply::Access(body) => {
                out.put_u8(kind::ACCESS);
                out.put_slice(body);
            }
            Reply::Databases(databases) => {
                out.put_u8(kind::DISCOVER);
                for (id, name) in databases {
                    out.put_slice(id.as_bytes());
                    put_text(&mut out, name);
                }
            }
            Reply::Heard { upto, said } => {
                out.put_u8(kind::LISTEN);
                upto.write(&mut out);
                said.iter().for_each(|said| said.write(&mut out));
            }
        }
        out.freeze()
    }
}

impl Introduction {
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(self.addresses.len() as u8);
        for address in &self.addresses {
            put_text(out, &address.transport_type);
            put_text(out, &address.address);
        }
        out.put_u16(self.databases.len() as u16);
        for (database, claims) in &self.databases {
            out.put_slice(&database.0);
            out.put_slice(&Claim::write_all(claims));
        }
        out.put_slice(&Claim::write_all(&self.listing));
    }
}

impl Held {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.database.0);
        out.put_slice(&self.digest);
    }
}

impl Said {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.database.0);
        out.put_u8(self.hops);
        self.statement.write(out);
    }
}

impl Mark {
    fn write(self, out: &mut BytesMut) {
        out.put_u64(self.run);
        out.put_u64(self.number);
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
