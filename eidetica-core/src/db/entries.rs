//! Entries as they rest in a backend, and how they are found.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result, Snapshot};

use super::meta::Tip;
use crate::cbor::{Read, Reader, Writer};
use crate::clock::Time;
use crate::dag::Numbers;
use crate::entry::{Body, VerifiedEntry};
use crate::error::damaged;
use crate::id::Id;
use crate::layout::{DatabaseNumber, ENTRIES, IDS};

/// An entry with what this store knows of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredEntry {
    pub number: u64,
    pub lineage: Lineage,
    /// True if it was committed here, false if it arrived.
    pub local: bool,
    pub entry: VerifiedEntry,
}

/// What is hidden from an entry: the earlier arrivals that are not below it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lineage {
    /// Stated in full.
    Hidden(Numbers),
    /// The same as for its one parent, and what arrived between the two. `steps` counts the way down to an entry that
    /// states it in full; it is never longer than that statement, so following it costs no more than reading one.
    Follows { parent: u64, steps: u64 },
}

/// Where an entry is, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub number: u64,
    pub height: u64,
    pub time: Time,
}

impl StoredEntry {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.list(4);
        self.lineage.write(&mut out);
        out.bool(self.local).bytes(self.entry.header_bytes());
        out.list(self.entry.bodies().len());
        for body in self.entry.bodies() {
            match body {
                Some(body) => out.bytes(body),
                None => out.null(),
            };
        }
        out.finish()
    }

    pub fn parse(number: u64, bytes: &Bytes) -> Result<StoredEntry> {
        let mut input = Reader::new(bytes);
        let mut read = || -> Read<(Lineage, bool, Bytes, Vec<Body>)> {
            input.list_of(4)?;
            let lineage = Lineage::read(&mut input)?;
            let local = input.bool()?;
            let header = crate::cbor::share(bytes, input.bytes()?);
            let mut bodies = Vec::new();
            for _ in 0..input.list(usize::MAX)? {
                bodies.push(if input.is_null()? { None } else { Some(crate::cbor::share(bytes, input.bytes()?)) });
            }
            input.end()?;
            Ok((lineage, local, header, bodies))
        };
        let (lineage, local, header, bodies) = read().map_err(|_| damaged("the row of an entry"))?;
        let entry = VerifiedEntry::trusted(header, bodies).ok_or_else(|| damaged("the header of an entry"))?;
        Ok(StoredEntry { number, lineage, local, entry })
    }
}

impl Lineage {
    fn write(&self, out: &mut Writer) {
        match self {
            Lineage::Hidden(hidden) => hidden.write(out),
            Lineage::Follows { parent, steps } => {
                out.map(1).uint(*parent).uint(*steps);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Read<Lineage> {
        if input.kind()? == minicbor::data::Type::Map {
            input.map()?;
            return Ok(Lineage::Follows { parent: input.uint()?, steps: input.uint()? });
        }
        Numbers::read(input).map(Lineage::Hidden)
    }

    /// Only the lineage of an entry, without reading the rest of its row.
    pub fn of_row(row: &[u8]) -> Result<Lineage> {
        let mut input = Reader::new(row);
        input.list_of(4).and_then(|()| Lineage::read(&mut input)).map_err(|_| damaged("the lineage of an entry"))
    }
}

impl Place {
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Writer::new();
        out.list(3).uint(self.number).uint(self.height).uint(self.time.number());
        out.finish()
    }

    pub fn parse(bytes: &[u8]) -> Result<Place> {
        let mut input = Reader::new(bytes);
        let mut read = || -> Read<Place> {
            input.list_of(3)?;
            let (number, height) = (input.uint()?, input.uint()?);
            let place = Place { number, height, time: Time::from_number(input.uint()?) };
            input.end()?;
            Ok(place)
        };
        read().map_err(|_| damaged("the row of an id"))
    }
}

impl From<&Tip> for Place {
    fn from(tip: &Tip) -> Place {
        Place { number: tip.number, height: tip.height, time: tip.time }
    }
}

/// Where these entries are, each `None` if it is not here.
pub(crate) async fn places(rows: &dyn Snapshot, database: DatabaseNumber, ids: &[Id]) -> Result<Vec<Option<Place>>> {
    let keys: Vec<Bytes> = ids.iter().map(|id| database.id_key(id)).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let found = rows.get_many(IDS, &keys).await?;
    found.into_iter().map(|row| row.map(|row| Place::parse(&row)).transpose()).collect()
}

/// The arrival number of an entry.
pub(crate) async fn number_of(rows: &dyn Snapshot, database: DatabaseNumber, id: &Id) -> Result<Option<u64>> {
    Ok(places(rows, database, &[*id]).await?.pop().flatten().map(|place| place.number))
}

/// The entry with an arrival number that is known to be there.
pub(crate) async fn entry_at(rows: &dyn Snapshot, database: DatabaseNumber, number: u64) -> Result<StoredEntry> {
    let row = rows.get(ENTRIES, &database.entry_key(number)).await?;
    StoredEntry::parse(number, &row.ok_or_else(|| damaged("an entry is missing"))?)
}

/// The arrival numbers of entries that must be here. Errors: `NotFound`, naming the one that is not.
pub(crate) async fn require(rows: &dyn Snapshot, database: DatabaseNumber, ids: &[Id]) -> Result<Vec<Place>> {
    let places = places(rows, database, ids).await?;
    places.into_iter().zip(ids).map(|(place, id)| place.ok_or_else(|| unknown_entry(id))).collect()
}

pub(crate) fn unknown_entry(id: &Id) -> Error {
    Error::new(ErrorKind::NotFound, "the database has no such entry").with("entry", id)
}
