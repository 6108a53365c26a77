//! The delta of the settings store.

use bytes::Bytes;
use eidetica_contract::PublicKey;

use super::right::Right;
use crate::cbor::{Read, Reader, Writer};
use crate::limits::MAX_RIGHTS;
use crate::store::doc::DocDelta;

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
        let delta = SettingsDelta::read(bytes).map_err(|_| "not the form of a settings delta")?;
        let ascending = delta.rights.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let nothing_granted = delta.rights.iter().any(|(_, setting)| *setting == Setting::Grant(Right::NONE));
        let everybody = |(subject, setting): &(Subject, Setting)| {
            *subject == Subject::Everybody && matches!(setting, Setting::Grant(right) if *right > Right::WRITE)
        };
        let rules = [
            (!delta.rights.iter().any(everybody), "everybody can have at most the right to write"),
            (delta.rights.len() <= MAX_RIGHTS, "more operations on rights than a delta may hold"),
            (ascending, "the subjects are not in strictly ascending order"),
            (!nothing_granted, "a grant must give something"),
            (delta.to_bytes() == bytes, "not the canonical form"),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map_or(Ok(delta), |(_, rule)| Err(rule))
    }

    fn read(bytes: &[u8]) -> Read<SettingsDelta> {
        let mut input = Reader::new(bytes);
        input.list_of(2)?;
        let len = input.list(usize::MAX)?;
        let rights = (0..len).map(|_| read_right(&mut input)).collect::<Read<Vec<_>>>()?;
        let values = DocDelta::read(&mut input)?;
        input.end()?;
        Ok(SettingsDelta { rights, values })
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
