//! Rows as types of the application, through serde.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};
use minicbor::data::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::delta::Fields;
use crate::cbor::{Malformed, Read, Reader, Writer, share};
use crate::error::invalid;
use crate::store::row::Identity;
use crate::value::{Value, write_map};

/// The fields of a row. A row is a struct, or a map with text as keys.
///
/// Errors: [`ErrorKind::InvalidInput`] for anything else, for NaN and infinities, and for numbers of more than 64 bits.
pub(super) fn to_fields<T: Serialize>(row: &T) -> Result<Fields> {
    let refused =
        || invalid("a row is a struct or a map with text as keys; its numbers are finite and fit into 64 bits");
    let bytes = minicbor_serde::to_vec(row).map_err(|error| refused().caused_by(error))?;
    read_fields(&bytes.into()).map_err(|_| refused())
}

fn read_fields(bytes: &Bytes) -> Read<Fields> {
    let mut input = Reader::new(bytes);
    let mut fields = Fields::new();
    // A struct whose length serde does not know in advance is written with a break at its end.
    let len = input.map_or_open()?;
    while len.map_or_else(|| !input.at_break(), |len| fields.len() < len) {
        let name = input.text()?.to_owned();
        if fields.insert(name, read_value(&mut input, bytes)?).is_some() {
            return Err(Malformed);
        }
    }
    Ok(fields)
}

/// The canonical bytes of the value that is next.
fn read_value(input: &mut Reader<'_>, whole: &Bytes) -> Read<Bytes> {
    match input.kind()? {
        // Of these serde writes the canonical form already.
        Type::Null | Type::Bool | Type::String => input.skip().map(|bytes| share(whole, bytes)),
        _ => {
            let value = Value::read(input)?;
            if value.is_storable() { Ok(value.to_bytes().into()) } else { Err(Malformed) }
        }
    }
}

/// A row from the fields that show. Unknown fields are passed over, missing ones are for serde's defaults.
///
/// Errors: [`ErrorKind::WrongType`].
pub(super) fn from_fields<'a, T: DeserializeOwned>(
    key: &str,
    fields: impl Iterator<Item = (&'a str, &'a bytes::Bytes)>,
) -> Result<T> {
    let mut out = Writer::new();
    write_map(&mut out, fields, |value, out| {
        out.raw(value);
    });
    minicbor_serde::from_slice(&out.finish()).map_err(|error| {
        let message = "the row does not have the form of the type of this table; give new fields a serde default";
        Error::new(ErrorKind::WrongType, message).with("row", key).caused_by(error)
    })
}

/// The fields of the identity that shows.
pub(super) fn shown_fields(identity: &Identity) -> Fields {
    identity.shown().map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
