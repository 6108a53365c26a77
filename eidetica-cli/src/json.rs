//! JSON as it is taken here: no key twice in an object, and what does not fit is named.

use std::fmt;

use eidetica::core::limits::MAX_DEPTH;
use eidetica::{Error, ErrorKind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

/// Reads one value. `above` is how many levels of it are not part of what is stored.
///
/// Errors: `InvalidInput`, saying whether it is no JSON, too deep, holds a number that fits nowhere, or a key twice.
pub fn parse(text: &str, above: usize) -> Result<Json, Error> {
    let refused = |message: &'static str| Error::new(ErrorKind::InvalidInput, message);
    let Strict(json) = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let message = match said.as_str() {
            said if said.starts_with("number out of range") => TOO_GREAT,
            said if said.starts_with("recursion limit") => TOO_DEEP,
            _ if error.is_data() => "a key stands twice in one JSON object; leave one of them out",
            _ => "this is not JSON; texts need double quotes there",
        };
        refused(message).with("reason", said)
    })?;
    if depth(&json) > MAX_DEPTH + above { Err(refused(TOO_DEEP)) } else { Ok(json) }
}

const TOO_GREAT: &str = "a number in the JSON is out of range; a float of 64 bits holds up to 1.8e308";
const TOO_DEEP: &str = "the JSON is nested too deeply; a value may have 64 levels";

fn depth(json: &Json) -> usize {
    match json {
        Json::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Json::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A value in which no object has a key twice.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(Reading).map(Strict)
    }
}

struct Reading;

macro_rules! take {
    ($($method:ident($type:ty)),*) => {$(
        fn $method<E>(self, value: $type) -> Result<Json, E> {
            Ok(value.into())
        }
    )*};
}

impl<'de> Visitor<'de> for Reading {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    take!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str), visit_string(String));

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = input.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Json, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some((key, Strict(value))) = input.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("the key {key:?} stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Json::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for (text, words) in [
            ("1e999", "out of range"),
            ("{\"a\":[-1e400]}", "out of range"),
            (nested(65).as_str(), "nested too deeply"),
            (nested(10_000).as_str(), "nested too deeply"),
            ("{\"a\":1,\"b\":2,\"a\":3}", "twice"),
            ("[{\"a\":{\"x\":1,\"x\":1}}]", "twice"),
            ("name", "not JSON"),
            ("", "not JSON"),
        ] {
            let error = parse(text, 0).unwrap_err();
            assert!(error.message().contains(words), "{text:.20}: {error}");
        }
        assert!(parse(&nested(64), 0).is_ok() && parse(&nested(65), 1).is_ok());
        let text = r#"{"a":[1,-2,2.5,null,true,"x",18446744073709551615],"b":{}}"#;
        assert_eq!(parse(text, 0).unwrap(), serde_json::from_str::<Json>(text).unwrap());
    }
}
