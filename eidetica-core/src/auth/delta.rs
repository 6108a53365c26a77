//! The delta of the settings store.

use bytes::Bytes;
use eidetica_contract::PublicKey;

use super::right::Right;
use crate::cbor::{Read, Reader, Writer};
use crate::limits::{MAX_DEPTH, MAX_RIGHTS};
use crate::store::doc::{AROUND_VALUE, DocDelta, DocOperations};

/// Whose right a setting speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Everybody: written `*`. Holds at most the right to write.
    Everybody,
    /// The holder of a key.
    Key(PublicKey),
}

/// An operation on the right of one key, or of everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Gives at least this right. Never lowers.
    Grant(Right),
    /// Leaves at most this right; none removes the key. Never raises.
    Limit(Right),
}

/// What a settings delta holds: operations on rights, and values such as the name of the database.
///
/// It belongs to the format of entries: one that does not parse is refused with its entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsDelta {
    /// One operation for each subject, ordered by subject.
    pub rights: Vec<(Subject, Setting)>,
    /// Changes of values, merged as in a document.
    pub values: DocDelta,
}

impl SettingsDelta {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Writer::new();
        out.list(2).list(self.rights.len());
        for (subject, setting) in &self.rights {
            out.list(3);
            match subject {
                Subject::Everybody => out.bytes(&[]),
                Subject::Key(key) => out.bytes(key.as_bytes()),
            };
            match setting {
                Setting::Grant(right) => out.uint(0).uint(right.number()),
                Setting::Limit(right) => out.uint(1).uint(right.number()),
            };
        }
        self.values.write(&mut out);
        out.finish().into()
    }

    /// Reads a delta; the error names the rule that it breaks.
    pub fn parse(bytes: &[u8]) -> Result<SettingsDelta, &'static str> {
        let Settings { rights, values } = Settings::parse(&Bytes::copy_from_slice(bytes))?;
        let values = values.to_delta().ok_or("not the form of a settings delta")?;
        Ok(SettingsDelta { rights, values })
    }
}

/// A settings delta as it lies in the body of an entry. Strangers send such, and every peer has to judge them, so the values
/// stay what they are: bytes, of which it is proven that they are those of a document delta.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub rights: Vec<(Subject, Setting)>,
    pub values: DocOperations,
}

impl Settings {
    /// Reads a body; the error names the rule that it breaks.
    pub fn parse(body: &Bytes) -> Result<Settings, &'static str> {
        let (settings, broken) = Settings::read(body).map_err(|_| "not the form of a settings delta")?;
        // One list more than around the values of a document.
        let canonical = Reader::new(body).canonical(MAX_DEPTH + AROUND_VALUE + 1).is_ok();
        match broken {
            Some(rule) => Err(rule),
            None if !canonical => Err("not the canonical form"),
            None => Ok(settings),
        }
    }

    /// Also the first rule of those for operations on rights that is broken, if one is.
    fn read(body: &Bytes) -> Read<(Settings, Option<&'static str>)> {
        let mut input = Reader::new(body);
        input.list_of(2)?;
        let len = input.list(usize::MAX)?;
        let mut rights: Vec<(Subject, Setting)> = Vec::new();
        let (mut everybody, mut ascending, mut nothing_granted) = (false, true, false);
        let mut last = None;
        for _ in 0..len {
            let (subject, setting) = read_right(&mut input)?;
            everybody |=
                subject == Subject::Everybody && matches!(setting, Setting::Grant(right) if right > Right::WRITE);
            nothing_granted |= setting == Setting::Grant(Right::NONE);
            ascending &= last.is_none_or(|last| last < subject);
            last = Some(subject);
            if rights.len() < MAX_RIGHTS {
                rights.push((subject, setting));
            }
        }
        let values = DocOperations::read(&mut input, body)?;
        input.end()?;
        let rules = [
            (everybody, "everybody can have at most the right to write"),
            (len > MAX_RIGHTS, "more operations on rights than a delta may hold"),
            (!ascending, "the subjects are not in strictly ascending order"),
            (nothing_granted, "a grant must give something"),
        ];
        let broken = rules.into_iter().find(|(broken, _)| *broken).map(|(_, rule)| rule);
        Ok((Settings { rights, values }, broken))
    }
}

fn read_right(input: &mut Reader<'_>) -> Read<(Subject, Setting)> {
    use crate::cbor::Malformed;

    input.list_of(3)?;
    let subject = match input.bytes()? {
        [] => Subject::Everybody,
        key => Subject::Key(PublicKey::from_bytes(key.try_into().map_err(|_| Malformed)?)),
    };
    let kind = input.uint()?;
    let right = Right::from_number(input.uint()?).ok_or(Malformed)?;
    let setting = match kind {
        0 => Setting::Grant(right),
        1 => Setting::Limit(right),
        _ => return Err(Malformed),
    };
    Ok((subject, setting))
}
