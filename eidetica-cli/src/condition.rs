//! What `--where` asks for.

use std::cmp::Ordering;
use std::str::FromStr;

use eidetica::crdt::{Doc, Value};
use eidetica::{Error, ErrorKind};

use crate::typed;

/// A comparison of a field with a word.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub field: String,
    operator: Operator,
    /// As it was written, for fields that hold text.
    text: String,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl FromStr for Condition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Condition, Error> {
        let at = text.find(['=', '<', '>', '!']).unwrap_or(0);
        let (field, rest) = text.split_at(at);
        let found = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)));
        match found {
            Some((operator, word)) if !field.is_empty() => {
                Ok(Condition { field: field.to_owned(), operator, text: word.to_owned(), value: typed::value(word) })
            }
            _ => {
                let message = "a condition is a field, one of = != < <= > >=, and a value, such as state=WA";
                Err(Error::new(ErrorKind::InvalidInput, message).with("condition", text))
            }
        }
    }
}

impl Condition {
    /// True if a row meets it. Every row has the field `key`, unless it has one of its own by this name.
    pub fn holds(&self, key: &str, row: &Doc) -> bool {
        match (row.get(&self.field), self.field.as_str()) {
            (None, "key") => self.compares(&Value::Text(key.to_owned())),
            (found, _) => self.compares(found.unwrap_or(&Value::Null)),
        }
    }

    fn compares(&self, found: &Value) -> bool {
        let order = match (found, &self.value) {
            (Value::Text(found), _) => Some(found.as_str().cmp(&self.text)),
            (Value::Null, Value::Null) => Some(Ordering::Equal),
            (Value::Bool(_), Value::Bool(_)) => Some(typed::order(found, &self.value)),
            _ if found.as_float().is_some() && self.value.as_float().is_some() => {
                Some(if same_number(found, &self.value) { Ordering::Equal } else { typed::order(found, &self.value) })
            }
            _ => None,
        };
        match (order, self.operator) {
            (None, operator) => operator == Operator::NotEqual,
            (Some(order), Operator::Equal) => order.is_eq(),
            (Some(order), Operator::NotEqual) => order.is_ne(),
            (Some(order), Operator::Less) => order.is_lt(),
            (Some(order), Operator::LessOrEqual) => order.is_le(),
            (Some(order), Operator::Greater) => order.is_gt(),
            (Some(order), Operator::GreaterOrEqual) => order.is_ge(),
        }
    }

    /// The values that an index has to be asked for; `None` if an index does not help.
    pub fn indexed_values(&self) -> Option<Vec<Value>> {
        let text = Value::Text(self.text.clone());
        match (self.operator, &self.value) {
            (Operator::Equal, Value::Text(_)) => Some(vec![text]),
            (Operator::Equal, Value::Bool(truth)) => Some(vec![text, Value::Bool(*truth)]),
            (Operator::Equal, Value::Int(0)) => Some(vec![text, Value::Int(0), Value::Float(0.0), Value::Float(-0.0)]),
            // Above this, several whole numbers are one float, and rows are looked at one by one instead.
            (Operator::Equal, Value::Int(number)) if number.unsigned_abs() < 1 << 53 => {
                Some(vec![text, Value::Int(*number), Value::Float(*number as f64)])
            }
            (Operator::Equal, Value::Float(number)) if number.fract() != 0.0 => Some(vec![text, Value::Float(*number)]),
            _ => None,
        }
    }
}

/// `0.0` and `-0.0` are one number here, however they are stored.
fn same_number(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a == b,
        _ => a.as_float() == b.as_float(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str, value: Value) -> bool {
        condition.parse::<Condition>().unwrap().holds("k", &[("f", value)].into_iter().collect())
    }

    #[test]
    fn a_field_is_compared_as_what_it_holds() {
        assert!(holds("f=7", 7i64.into()) && holds("f=7", 7.0.into()) && holds("f=7", "7".into()));
        assert!(holds("f=007", "007".into()) && !holds("f=007", 7i64.into()));
        assert!(holds("f>60", 60.5.into()) && !holds("f>60", 60i64.into()) && holds("f>=60", 60i64.into()));
        assert!(holds("f=null", Value::Null) && holds("g=null", 1i64.into()) && holds("g!=1", 1i64.into()));
        assert!(holds("f<b", "a".into()) && !holds("f<5", Value::Null) && holds("f!=x", 5i64.into()));
        assert!(holds("f=a=b", "a=b".into()) && holds("key=k", Value::Null) && holds("f=0", (-0.0).into()));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for wrong in ["", "f", "=1", "f!1", "!"] {
            assert_eq!(wrong.parse::<Condition>().unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }
}
