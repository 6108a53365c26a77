//! An encoder of its own, so that the vectors do not rest on the one that they check.
//!
//! JSON stands for CBOR: numbers without a fraction are integers, texts are texts, lists are lists; `{"bytes": HEX}`,
//! `{"float": NUMBER}` and `{"map": [[KEY, VALUE], …]}` are what JSON has no form for. A map is written in the order given.

use serde_json::Value;

/// The bytes of a described value.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => head(out, 0, number),
            (None, Some(number)) => head(out, 1, !(number as u64)),
            (None, None) => panic!("a number with a fraction is written as a float: {number}"),
        },
        Value::String(text) => {
            head(out, 3, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(values) => {
            head(out, 4, values.len() as u64);
            values.iter().for_each(|value| write(out, value));
        }
        Value::Object(object) => {
            let (form, inner) = object.iter().next().expect("one key names the form");
            match (form.as_str(), inner) {
                ("bytes", Value::String(digits)) => {
                    let bytes = unhex(digits);
                    head(out, 2, bytes.len() as u64);
                    out.extend_from_slice(&bytes);
                }
                ("float", Value::Number(number)) => {
                    out.push(0xfb);
                    out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
                }
                ("map", Value::Array(pairs)) => {
                    head(out, 5, pairs.len() as u64);
                    for pair in pairs {
                        write(out, &pair[0]);
                        write(out, &pair[1]);
                    }
                }
                _ => panic!("an unknown form: {form}"),
            }
        }
    }
}

/// The first bytes of an item: its major type and the shortest form of its number.
fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    match number {
        0..24 => out.push(major | number as u8),
        24..0x100 => out.extend([major | 24, number as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend((number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend((number as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(number.to_be_bytes());
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "an odd number of digits");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
