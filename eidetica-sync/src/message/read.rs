//! Reading messages, of which a stranger may have sent any: what is not exactly a message is none.

use bytes::Bytes;
use eidetica_contract::Address;
use eidetica_core::Id;

use super::{
    Held, Introduction, MAX_ADDRESS, MAX_ADDRESSES, MAX_DATABASES, MAX_NAME, Mark, Reply, Request, Said, Tag, kind,
};
use crate::access::Claim;
use crate::presence::{MAX_SAID, Statement};
use crate::session::Fields;

impl Request {
    /// The request with these bytes, if they are one.
    pub fn parse(bytes: &Bytes) -> Option<Request> {
        let mut fields = Fields::new(bytes);
        let request = match fields.byte()? {
            kind::INTRODUCE => Request::Introduce(Introduction::read(&mut fields)?),
            kind::ABOUT => {
                let database = Tag(fields.array()?);
                return Some(Request::About { database, body: bytes.slice_ref(fields.rest()) });
            }
            kind::WATCH => {
                let millis = fields.u32()?;
                Request::Watch { millis, databases: all(&mut fields, MAX_DATABASES, Held::read)? }
            }
            kind::ACCESS => return Some(Request::Access(bytes.slice(1..))),
            kind::DISCOVER => Request::Discover,
            kind::OFFER => {
                let database = Tag(fields.array()?);
                return Some(Request::Offer { database, root: bytes.slice_ref(fields.rest()) });
            }
            kind::ENDED => Request::Ended(all(&mut fields, MAX_DATABASES, |fields| Some(Tag(fields.array()?)))?),
            kind::TELL => Request::Tell(all(&mut fields, MAX_SAID, Said::read)?),
            kind::LISTEN => {
                let (millis, after) = (fields.u32()?, Mark::read(&mut fields)?);
                let tag = |fields: &mut Fields<'_>| Some(Tag(fields.array()?));
                Request::Listen { millis, after, databases: all(&mut fields, MAX_DATABASES, tag)? }
            }
            _ => return None,
        };
        fields.is_empty().then_some(request)
    }
}

impl Reply {
    /// The reply with these bytes, if they are one.
    pub fn parse(bytes: &Bytes) -> Option<Reply> {
        let mut fields = Fields::new(bytes);
        let reply = match fields.byte()? {
            kind::NOT_SERVED => Reply::NotServed,
            kind::INTRODUCE_FIRST => Reply::Introduce,
            kind::LACKING => Reply::Lacking,
            kind::REMOVED => Reply::Removed,
            kind::OFFER => Reply::Taken,
            kind::INTRODUCE => Reply::Introduced(Introduction::read(&mut fields)?),
            kind::ABOUT => return Some(Reply::About(bytes.slice(1..))),
            kind::WATCH => Reply::Changed(all(&mut fields, MAX_DATABASES, Held::read)?),
            kind::ACCESS => return Some(Reply::Access(bytes.slice(1..))),
            kind::DISCOVER => Reply::Databases(all(&mut fields, MAX_DATABASES, |fields| {
                let id: [u8; 32] = fields.array()?;
                Some((Id::from_bytes(id), text(fields, MAX_NAME)?))
            })?),
            kind::LISTEN => {
                let upto = Mark::read(&mut fields)?;
                Reply::Heard { upto, said: all(&mut fields, MAX_SAID, Said::read)? }
            }
            _ => return None,
        };
        fields.is_empty().then_some(reply)
    }
}

impl Introduction {
    fn read(fields: &mut Fields<'_>) -> Option<Introduction> {
        let addresses = some(
            fields,
            MAX_ADDRESSES,
            |fields| fields.byte().map(usize::from),
            |fields| Some(Address::new(text(fields, MAX_ADDRESS)?, text(fields, MAX_ADDRESS)?)),
        )?;
        let count = |fields: &mut Fields<'_>| fields.u16().map(usize::from);
        let databases = some(fields, MAX_DATABASES, count, |fields| Some((Tag(fields.array()?), claims(fields)?)))?;
        Some(Introduction { addresses, databases, listing: claims(fields)? })
    }
}

impl Held {
    fn read(fields: &mut Fields<'_>) -> Option<Held> {
        Some(Held { database: Tag(fields.array()?), digest: fields.array()? })
    }
}

impl Said {
    fn read(fields: &mut Fields<'_>) -> Option<Said> {
        Some(Said { database: Tag(fields.array()?), hops: fields.byte()?, statement: Statement::read(fields)? })
    }
}

impl Mark {
    fn read(fields: &mut Fields<'_>) -> Option<Mark> {
        Some(Mark { run: fields.u64()?, number: fields.u64()? })
    }
}

fn claims(fields: &mut Fields<'_>) -> Option<Vec<Claim>> {
    let rest = std::mem::replace(fields, Fields::new(&[])).rest();
    let (claims, rest) = Claim::read_all(rest)?;
    *fields = Fields::new(rest);
    Some(claims)
}

/// As many values as a count in front of them says. Memory is taken as they are read, not as they are announced.
fn some<T>(
    fields: &mut Fields<'_>,
    most: usize,
    count: impl Fn(&mut Fields<'_>) -> Option<usize>,
    one: impl Fn(&mut Fields<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = count(fields).filter(|count| *count <= most)?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(one(fields)?);
    }
    Some(values)
}

/// Values up to the end.
fn all<T>(fields: &mut Fields<'_>, most: usize, one: impl Fn(&mut Fields<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut values = Vec::new();
    while !fields.is_empty() {
        if values.len() == most {
            return None;
        }
        values.push(one(fields)?);
    }
    Some(values)
}

fn text(fields: &mut Fields<'_>, most: usize) -> Option<String> {
    let len = usize::from(fields.u16()?);
    let bytes = fields.take(len).filter(|_| len <= most)?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
