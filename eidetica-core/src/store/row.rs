//! The live record of something with an identity and fields: a row of a table, or an element of a list (rules 27, 27a).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::stamp::{Numbered, Stamp};
use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::dag::Seen;
use crate::id::Id;
use crate::store::table::Fields;

/// The live identities under one key, weakest first: the last one shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RowCell {
    pub identities: Vec<Identity>,
}

/// One identity, named by the entry that made it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub stamp: Stamp,
    pub fields: BTreeMap<String, Vec<FieldWrite>>,
}

/// A live write to a field; the last one of a field shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldWrite {
    pub stamp: Stamp,
    pub value: Bytes,
}

impl RowCell {
    /// Ends the identities that were seen. Returns the numbers of the operations that leave the record with them.
    pub fn end_seen(&mut self, seen: &Seen) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.identities.retain(|identity| {
            let stays = !seen.contains(identity.stamp.number);
            if !stays {
                ended.extend(identity.operations());
            }
            stays
        });
        ended
    }

    /// Begins an identity.
    pub fn begin(&mut self, stamp: Stamp, fields: Fields) {
        let write = |value| vec![FieldWrite { stamp, value }];
        let fields = fields.into_iter().map(|(name, value)| (name, write(value))).collect();
        let at = self.identities.partition_point(|identity| identity.stamp < stamp);
        self.identities.insert(at, Identity { stamp, fields });
    }

    /// The identity that this entry made, if it lives.
    pub fn identity_mut(&mut self, name: Id) -> Option<&mut Identity> {
        self.identities.iter_mut().find(|identity| identity.stamp.id == name)
    }

    /// The identity that shows.
    pub fn shown(&self) -> Option<&Identity> {
        self.identities.last()
    }

    pub fn to_bytes(&self) -> Bytes {
        // Most fields of a row were written by the same few entries, so the stamps stand once, in front.
        let mut stamps = Numbered::new();
        let mut body = Writer::new();
        body.list(self.identities.len());
        for identity in &self.identities {
            body.list(2).uint(stamps.number(&identity.stamp)).list(identity.fields.len());
            for (name, writes) in &identity.fields {
                body.list(1 + 2 * writes.len()).text(name);
                for write in writes {
                    body.uint(stamps.number(&write.stamp)).raw(&write.value);
                }
            }
        }
        let mut out = Writer::new();
        out.list(2).list(stamps.all.len());
        stamps.all.iter().for_each(|stamp| stamp.write(&mut out));
        out.raw(&body.finish());
        out.finish().into()
    }

    /// The bytes of a record with one identity, fresh from one entry: what most rows are for as long as they live.
    pub fn bytes_of_one(stamp: &Stamp, fields: &Fields) -> Bytes {
        let mut out = Writer::new();
        out.list(2).list(1);
        stamp.write(&mut out);
        out.list(1).list(2).uint(0).list(fields.len());
        for (name, value) in fields {
            out.list(3).text(name).uint(0).raw(value);
        }
        out.finish().into()
    }

    pub fn parse(bytes: &Bytes) -> Read<RowCell> {
        let mut input = Reader::new(bytes);
        input.list_of(2)?;
        let len = input.list(usize::MAX)?;
        let stamps = (0..len).map(|_| Stamp::read(&mut input)).collect::<Read<Vec<_>>>()?;
        let stamp = |index: u64| usize::try_from(index).ok().and_then(|i| stamps.get(i)).copied().ok_or(Malformed);
        let len = input.list(usize::MAX)?;
        let mut identities = Vec::new();
        for _ in 0..len {
            input.list_of(2)?;
            let made_by = stamp(input.uint()?)?;
            let mut fields = BTreeMap::new();
            for _ in 0..input.list(usize::MAX)? {
                let parts = input.list(usize::MAX)?;
                let name = input.text()?.to_owned();
                let mut writes = Vec::new();
                for _ in 0..parts / 2 {
                    let stamp = stamp(input.uint()?)?;
                    writes.push(FieldWrite { stamp, value: crate::cbor::share(bytes, input.skip()?) });
                }
                fields.insert(name, writes);
            }
            identities.push(Identity { stamp: made_by, fields });
        }
        input.end()?;
        Ok(RowCell { identities })
    }
}

/// An operation that has left the live record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub number: u64,
    /// True for the operation that made the identity, false for a later write to it.
    pub made: bool,
}

impl Identity {
    /// Writes fields. Returns the numbers of the writes that this overtakes, except those of the making operation, which
    /// needs no record of its own.
    pub fn write(&mut self, stamp: Stamp, fields: &Fields, seen: &Seen) -> Vec<Ended> {
        let mut overtaken = Vec::new();
        for (name, value) in fields {
            let writes = self.fields.entry(name.clone()).or_default();
            writes.retain(|write| {
                let stays = !seen.contains(write.stamp.number);
                if !stays && write.stamp.number != self.stamp.number {
                    overtaken.push(Ended { number: write.stamp.number, made: false });
                }
                stays
            });
            let at = writes.partition_point(|write| write.stamp < stamp);
            writes.insert(at, FieldWrite { stamp, value: value.clone() });
        }
        overtaken
    }

    /// The values that show, by field.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.fields.iter().filter_map(|(name, writes)| Some((name.as_str(), &writes.last()?.value)))
    }

    /// The value of a field that shows.
    pub fn field(&self, name: &str) -> Option<&Bytes> {
        self.fields.get(name)?.last().map(|write| &write.value)
    }

    /// The operations that the identity consists of.
    pub fn operations(&self) -> Vec<Ended> {
        let writes = self.fields.values().flatten().map(|write| write.stamp.number);
        let mut numbers: Vec<u64> = writes.filter(|number| *number != self.stamp.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let later = numbers.into_iter().map(|number| Ended { number, made: false });
        [Ended { number: self.stamp.number, made: true }].into_iter().chain(later).collect()
    }
}
