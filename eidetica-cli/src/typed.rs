//! Text that stands for a value: on the command line, and in the cells of a CSV file.

use std::cmp::Ordering;

use eidetica::crdt::Value;
use eidetica::{Error, ErrorKind};

/// The value that a word on the command line stands for: int, float, bool, `null`, else text.
///
/// A number is one only if it is written as this program writes it, so `007` and `1e3` stay the texts that they are.
pub fn value(text: &str) -> Value {
    match text {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match (int(text), float(text)) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::Float(number),
            (None, None) => Value::Text(text.to_owned()),
        },
    }
}

/// How many of something are wanted.
pub fn count(text: &str) -> Result<usize, Error> {
    let message = "a limit is a whole number from 0 up";
    text.parse().map_err(|_| Error::new(ErrorKind::InvalidInput, message))
}

/// A field and the value that it gets: `FIELD=VALUE`, or `FIELD:=JSON`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment(pub String, pub Value);

impl std::str::FromStr for Assignment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Assignment, Error> {
        assignment(text).map(|(field, value)| Assignment(field, value))
    }
}

fn assignment(text: &str) -> Result<(String, Value), Error> {
    let refused = |message: &'static str| Error::new(ErrorKind::InvalidInput, message);
    let (field, given) = text.split_once('=').ok_or_else(|| refused("write FIELD=VALUE, or FIELD:=JSON"))?;
    let (field, value) = match field.strip_suffix(':') {
        None => (field, value(given)),
        Some(field) => (field, Value::from_json(&crate::json::parse(given, 0)?)?),
    };
    match field {
        "" => Err(refused("the name of the field is missing before `=`")),
        _ => Ok((field.to_owned(), value)),
    }
}

/// The whole number that is written so.
pub fn int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    // Leading zeros, and `-0`, would be lost.
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && text != "-0";
    if canonical { text.parse().ok() } else { None }
}

/// The finite number that is written so, in one of the two ways in which floats are written: `2.5` and `1`, or `2.5`
/// and `1.0`.
pub fn float(text: &str) -> Option<f64> {
    let number = parsed(text)?;
    (is_short(text, number) || is_long(text, number)).then_some(number)
}

/// A number that may be a float. Says nothing about how it is written.
pub fn parsed(text: &str) -> Option<f64> {
    // The parser takes `inf` and `nan`, too.
    let starts = matches!(text.as_bytes(), [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]);
    text.parse().ok().filter(|number: &f64| starts && number.is_finite())
}

/// True if the number, written without a fraction where it has none, gives this text.
pub fn is_short(text: &str, number: f64) -> bool {
    number.to_string() == text
}

/// True if the number, written with a fraction always, gives this text.
pub fn is_long(text: &str, number: f64) -> bool {
    format!("{number:?}") == text
}

/// A value as one word: what [`value`] takes back, as far as it can be written so.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.to_json().to_string(),
    }
}

/// An order of all values: by type, and numbers of both types by their size.
pub fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a) | Value::Counter(a), Value::Int(b) | Value::Counter(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => shown(a).cmp(&shown(b)),
        _ => match (a.as_float(), b.as_float()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Counter(_) | Value::Float(_) => 2,
        Value::Text(_) => 3,
        Value::Bytes(_) => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_what_gives_them_back() {
        for (text, expected) in [
            ("12", Value::Int(12)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            ("-0.5", Value::Float(-0.5)),
            ("1.0", Value::Float(1.0)),
            ("true", Value::Bool(true)),
            ("null", Value::Null),
        ] {
            assert_eq!(value(text), expected);
        }
        for text in ["007", "1.10", "+1", "1e3", "inf", "NaN", "-", "", " 1", "18446744073709551615", "True"] {
            assert_eq!(value(text), Value::Text(text.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn assignments() {
        assert_eq!(assignment("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(assignment("a:=[1]").unwrap(), ("a".into(), Value::List(vec![1i64.into()])));
        for wrong in ["a", "=1", ":=1", "a:=x"] {
            assert_eq!(assignment(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn numbers_of_both_types_are_in_one_order() {
        let sorted = [Value::Null, true.into(), (-1.5).into(), 0i64.into(), 0.5.into(), 2i64.into(), "".into()];
        assert!(sorted.windows(2).all(|pair| order(&pair[0], &pair[1]).is_lt()));
        assert!(order(&i64::MAX.into(), &(i64::MAX - 1).into()).is_gt());
    }
}
