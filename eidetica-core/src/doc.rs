//! A nested map of values in memory.

use std::collections::BTreeMap;

use base64::Engine as _;
use eidetica_contract::{Error, ErrorKind, Result};

use crate::value::Value;

/// A nested map: what a document store shows, and what the settings of a new database are given as.
///
/// ```
/// use eidetica_core::crdt::Doc;
///
/// let mut settings = Doc::new();
/// settings.set("name", "notes");
/// settings.set_path("view.sort", "date")?;
/// assert_eq!(settings.get_path("view.sort").and_then(|v| v.as_text()), Some("date"));
/// assert_eq!(settings.to_json().to_string(), r#"{"name":"notes","view":{"sort":"date"}}"#);
/// # Ok::<(), eidetica_contract::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doc(BTreeMap<String, Value>);

impl Doc {
    /// An empty map.
    pub fn new() -> Doc {
        Doc::default()
    }

    /// Sets a key, and returns what was there. Dots in the key have no meaning here.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Removes a key, and returns what was there.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// Sets what a dotted path names; maps on the way are made where nothing is.
    ///
    /// Errors: [`ErrorKind::WrongType`] if something other than a map lies on the way.
    pub fn set_path(&mut self, path: &str, value: impl Into<Value>) -> Result<()> {
        let mut steps: Vec<&str> = path.split('.').collect();
        let last = steps.pop().unwrap_or_default();
        let mut map = self;
        for step in steps {
            let next = map.0.entry(step.to_owned()).or_insert_with(|| Value::Map(Doc::new()));
            let Value::Map(inner) = next else {
                let message = "a value that is not a map lies on the path; remove it first";
                return Err(Error::new(ErrorKind::WrongType, message).with("path", path).with("at", step));
            };
            map = inner;
        }
        map.set(last, value);
        Ok(())
    }

    /// What a dotted path names.
    pub fn get_path(&self, path: &str) -> Option<&Value> {
        let mut steps = path.split('.');
        let mut value = self.get(steps.next()?)?;
        for step in steps {
            value = value.as_map()?.get(step)?;
        }
        Some(value)
    }

    /// Keys and values, ordered by the bytes of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if it has no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As JSON. Bytes become `{"$bytes": base64}`, counters their number.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Object(self.0.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
    }

    /// From a JSON object. Errors: [`ErrorKind::InvalidInput`] if it is none, or holds a number of no 64-bit type.
    pub fn from_json(json: &serde_json::Value) -> Result<Doc> {
        match Value::from_json(json)? {
            Value::Map(doc) => Ok(doc),
            other => {
                let message = "a document is a JSON object";
                Err(Error::new(ErrorKind::InvalidInput, message).with("found", other.type_name()))
            }
        }
    }
}

impl Value {
    /// As JSON. Bytes become `{"$bytes": base64}`, counters their number.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) | Value::Counter(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::Bytes(value) => {
                serde_json::json!({ "$bytes": base64::engine::general_purpose::STANDARD.encode(value) })
            }
            Value::List(values) => values.iter().map(Value::to_json).collect(),
            Value::Map(map) => map.to_json(),
        }
    }

    /// From JSON. Errors: [`ErrorKind::InvalidInput`] for a number that no 64-bit type holds, or a wrong `$bytes`.
    pub fn from_json(json: &serde_json::Value) -> Result<Value> {
        use serde_json::Value as Json;
        Ok(match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Int(number),
                (None, Some(float)) if float.is_finite() && !number.is_u64() => Value::Float(float),
                _ => {
                    let message = "the number fits neither a signed 64-bit integer nor a finite float";
                    return Err(Error::new(ErrorKind::InvalidInput, message).with("number", number));
                }
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(values) => Value::List(values.iter().map(Value::from_json).collect::<Result<_>>()?),
            Json::Object(map) => match (map.len(), map.get("$bytes")) {
                (1, Some(Json::String(text))) => {
                    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
                    Value::Bytes(decoded.map_err(|error| {
                        Error::new(ErrorKind::InvalidInput, "`$bytes` is not base64").caused_by(error)
                    })?)
                }
                _ => Value::Map(Doc(map
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Value::from_json(value)?)))
                    .collect::<Result<_>>()?)),
            },
        })
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Doc {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Doc {
        Doc(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl IntoIterator for Doc {
    type Item = (String, Value);
    type IntoIter = std::collections::btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_both_ways() {
        let text = r#"{"a":[1,-2.5,null,{"b":"x"}],"c":{"$bytes":"AAE="},"d":true}"#;
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let doc = Doc::from_json(&json).unwrap();
        assert_eq!(doc.get("c"), Some(&Value::Bytes(vec![0, 1])));
        assert_eq!(doc.to_json().to_string(), text);
        let huge = serde_json::json!({ "n": u64::MAX });
        assert_eq!(Doc::from_json(&huge).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
