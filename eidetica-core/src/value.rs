//! Values of documents and rows.

use std::collections::BTreeMap;

use minicbor::data::Type;

use crate::cbor::{Malformed, Read, Reader, Writer};
use crate::doc::Doc;
use crate::limits::MAX_DEPTH;

/// A value of a document or of a row.
///
/// Numbers are 64 bits wide. Floats are finite: NaN and the infinities are refused where a value is written. `-0.0` and
/// `0.0` are different values, kept apart.
///
/// ```
/// use eidetica_core::crdt::Value;
///
/// let lamps = Value::from(2);
/// assert_eq!((lamps.as_int(), lamps.as_text(), lamps.type_name()), (Some(2), None, "int"));
/// assert_eq!(Value::from("hello").to_json(), "hello");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing, on purpose.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Text, UTF-8.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list. In a `DocStore` its elements merge one by one.
    List(Vec<Value>),
    /// A map. In a `DocStore` its entries merge one by one.
    Map(Doc),
    /// A counter, which adds up concurrent increments. Only a `DocStore` knows it, and not inside lists.
    Counter(i64),
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is a whole one or a counter.
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(number) | Value::Counter(number) = self { Some(*number) } else { None }
    }

    /// The number, if it is one.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(*number),
            Value::Int(number) | Value::Counter(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Doc> {
        if let Value::Map(map) = self { Some(map) } else { None }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Value::List(list) = self { Some(list) } else { None }
    }

    /// The name of the type, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Counter(_) => "counter",
        }
    }

    /// True if every float in it is finite and it is nested no deeper than the format allows.
    pub(crate) fn is_storable(&self) -> bool {
        fn check(value: &Value, depth: usize) -> bool {
            depth <= MAX_DEPTH
                && match value {
                    Value::Float(number) => number.is_finite(),
                    Value::List(list) => list.iter().all(|value| check(value, depth + 1)),
                    Value::Map(map) => map.iter().all(|(_, value)| check(value, depth + 1)),
                    _ => true,
                }
        }
        check(self, 0)
    }

    /// A counter inside an opaque value is its number: only a path of a document can count.
    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            Value::Null => drop(out.null()),
            Value::Bool(value) => drop(out.bool(*value)),
            Value::Int(value) | Value::Counter(value) => drop(out.int(*value)),
            Value::Float(value) => drop(out.float(*value)),
            Value::Text(value) => drop(out.text(value)),
            Value::Bytes(value) => drop(out.bytes(value)),
            Value::List(values) => {
                out.list(values.len());
                values.iter().for_each(|value| value.write(out));
            }
            Value::Map(map) => write_map(out, map.iter(), |value, out| value.write(out)),
        }
    }

    /// Reads the canonical form of a value and leaves it at that: a value in memory takes many times the bytes it is
    /// written in.
    pub(crate) fn read_encoded<'b>(input: &mut Reader<'b>) -> Read<&'b [u8]> {
        input.canonical(MAX_DEPTH)
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Read<Value> {
        read_nested(input, 0)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Read<Value> {
        let mut input = Reader::new(bytes);
        let value = Value::read(&mut input)?;
        input.end()?;
        Ok(value)
    }
}

/// Writes a map with its keys in canonical order: shorter keys first, then by bytes.
pub(crate) fn write_map<'a, V: 'a>(
    out: &mut Writer,
    entries: impl Iterator<Item = (&'a str, &'a V)>,
    write: impl Fn(&V, &mut Writer),
) {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    out.map(entries.len());
    for (key, value) in entries {
        out.text(key);
        write(value, out);
    }
}

fn read_nested(input: &mut Reader<'_>, depth: usize) -> Read<Value> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    Ok(match input.kind()? {
        Type::Null => {
            input.null()?;
            Value::Null
        }
        Type::Bool => Value::Bool(input.bool()?),
        // Narrower floats are read, too, since serde writes them; that they are not canonical shows when they are written.
        Type::F16 | Type::F32 | Type::F64 => {
            let number = input.float()?;
            if !number.is_finite() {
                return Err(Malformed);
            }
            Value::Float(number)
        }
        Type::String => Value::Text(input.text()?.to_owned()),
        Type::Bytes => Value::Bytes(input.bytes()?.to_vec()),
        Type::Array => {
            let mut values = Vec::new();
            for _ in 0..input.list(usize::MAX)? {
                values.push(read_nested(input, depth + 1)?);
            }
            Value::List(values)
        }
        Type::Map => {
            let len = input.map()?;
            let mut entries = BTreeMap::new();
            for _ in 0..len {
                let key = input.text()?.to_owned();
                if entries.insert(key, read_nested(input, depth + 1)?).is_some() {
                    return Err(Malformed);
                }
            }
            Value::Map(entries.into_iter().collect())
        }
        _ => Value::Int(input.int()?),
    })
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i64 => Int, i32 => Int, u32 => Int, i16 => Int, u16 => Int, i8 => Int, u8 => Int, f64 => Float,
    f32 => Float, &str => Text, String => Text, &String => Text, Vec<u8> => Bytes, &[u8] => Bytes, Vec<Value> => List, Doc => Map,
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_survive_their_encoding() {
        let map: Doc = [("b", Value::Int(-5)), ("a", Value::Null), ("aa", Value::Float(-0.0))].into_iter().collect();
        let value = Value::List(vec![map.into(), Value::Bytes(vec![0, 1]), "ä".into(), true.into(), i64::MIN.into()]);
        assert_eq!(Value::from_bytes(&value.to_bytes()), Ok(value.clone()));
    }

    #[test]
    fn what_is_not_finite_or_too_deep_is_refused() {
        assert!(!Value::Float(f64::NAN).is_storable());
        let mut out = Writer::new();
        out.float(f64::INFINITY);
        assert_eq!(Value::from_bytes(&out.finish()), Err(Malformed));
        let deep = vec![0x81; 100_000];
        assert_eq!(Value::from_bytes(&deep), Err(Malformed));
        assert_eq!(Value::read_encoded(&mut Reader::new(&deep)), Err(Malformed));
    }

    /// What proves a value without building it, and what it must agree with: reading it and writing it again.
    fn proven_and_rewritten(bytes: &[u8]) -> (bool, bool) {
        let mut input = Reader::new(bytes);
        let proven = Value::read_encoded(&mut input).is_ok() && input.end().is_ok();
        (proven, Value::from_bytes(bytes).is_ok_and(|value| value.to_bytes() == bytes))
    }

    fn value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![any::<i64>(), -30..30i64, 250..260i64, Just(i64::MAX), Just(i64::MIN)];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number.prop_map(Value::Int),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::Float),
            "[a-cä\u{0}]{0,3}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..30).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                proptest::collection::btree_map("[a-c]{0,2}", inner, 0..5)
                    .prop_map(|map| Value::Map(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_proven_is_what_reads_and_is_written_the_same(
            value in value(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 0..4),
        ) {
            let mut bytes = value.to_bytes();
            prop_assert_eq!(proven_and_rewritten(&bytes), (true, true));
            for (at, byte, how) in changes {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ if bytes.len() > 1 => drop(bytes.remove(at)),
                    _ => {}
                }
                let (proven, rewritten) = proven_and_rewritten(&bytes);
                prop_assert_eq!(proven, rewritten, "{:x?}", bytes);
            }
        }

        #[test]
        fn nothing_else_is_proven(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let (proven, rewritten) = proven_and_rewritten(&bytes);
            prop_assert_eq!(proven, rewritten, "{:x?}", bytes);
        }
    }

    #[test]
    fn what_is_proven_is_as_deep_as_what_is_read() {
        for depth in MAX_DEPTH - 1..MAX_DEPTH + 2 {
            for (outer, inner) in [(&[0x81][..], &[0xf6][..]), (&[0xa1, 0x60], &[0x80]), (&[0x81], &[0xa0])] {
                let bytes = [outer.repeat(depth), inner.to_vec()].concat();
                let (proven, rewritten) = proven_and_rewritten(&bytes);
                assert!(proven == rewritten && proven == (depth <= MAX_DEPTH), "{depth}: {proven} {rewritten}");
            }
        }
    }
}
