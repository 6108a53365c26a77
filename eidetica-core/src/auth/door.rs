//! Whether an entry's author could have written it: a function of what is below the entry, and of nothing else (rule 6).

use std::fmt;

use super::delta::{Setting, Settings, Subject};
use super::right::Right;
use super::rights::{Rank, Rights, limited};
use crate::dag::Seen;
use crate::entry::Header;

/// What an admitted entry does to rights.
#[derive(Debug)]
pub(crate) struct SettingsChange {
    rank: Rank,
    rights: Vec<(Subject, Setting)>,
}

impl SettingsChange {
    /// Makes it count for everything above the entry.
    pub(crate) fn apply(self, rights: &mut Rights, number: u64, below: &Seen) {
        for (subject, setting) in self.rights {
            rights.add(number, below, self.rank, subject, setting);
        }
    }
}

/// Why the door is closed to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// To write takes the right to write.
    NeedsWrite {
        /// What the author has.
        has: Right,
    },
    /// To change settings takes the right of an admin.
    NeedsAdmin {
        /// What the author has.
        has: Right,
    },
    /// The right of an equal or a senior cannot be changed.
    NotJunior {
        /// Whose right was to be changed.
        subject: Subject,
    },
    /// A grant must give more than there is, and less than the right of who grants; everybody can have at most write.
    BadGrant {
        /// Whose right was to be raised.
        subject: Subject,
    },
    /// A limit must take something away.
    BadLimit {
        /// Whose right was to be lowered.
        subject: Subject,
    },
    /// Stepping down stands alone in its entry, and must lower the right.
    BadStepDown,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denied::NeedsWrite { has } => write!(f, "writing takes the right to write; the author's right is: {has}"),
            Denied::NeedsAdmin { has } => write!(f, "changing settings takes an admin; the author's right is: {has}"),
            Denied::NotJunior { subject } => write!(f, "{subject} is not below the author in rank"),
            Denied::BadGrant { subject } => {
                write!(
                    f,
                    "a grant must give {subject} more than it has and less than the author has; all can at most write"
                )
            }
            Denied::BadLimit { subject } => write!(f, "a limit must leave {subject} less than it has"),
            Denied::BadStepDown => f.write_str("stepping down stands alone in its entry and must lower the right"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Everybody => f.write_str("*"),
            Subject::Key(key) => key.fmt(f),
        }
    }
}

/// Judges an entry by the rights in the set below it. `settings` is its settings delta, if it has one; the root passes, and
/// ranks above all.
pub(crate) fn admit(
    rights: &Rights,
    below: &Seen,
    header: &Header,
    settings: Option<&Settings>,
) -> Result<Option<SettingsChange>, Denied> {
    let operations = settings.map(|settings| settings.rights.clone()).unwrap_or_default();
    let author = header.author;
    if header.parents.is_empty() {
        return Ok(Some(SettingsChange { rank: Rank::AboveAll, rights: operations }));
    }
    let has = rights.of(author, below);
    let own = Subject::Key(author);
    if let Some((_, setting)) = operations.iter().find(|(subject, _)| *subject == own)
        && let Setting::Limit(to) = setting
    {
        let alone = operations.len() == 1
            && header.stores.len() == 1
            && settings.is_some_and(|settings| settings.values.len() == 0);
        let before = rights.own(own, below);
        // It must take something of the own right. A limit to none takes from a key that never had a setting, too: what
        // everybody has.
        let lowers = limited(*to, before) < before;
        return if alone && lowers {
            Ok(Some(SettingsChange { rank: Rank::AboveAll, rights: operations }))
        } else {
            Err(Denied::BadStepDown)
        };
    }
    if settings.is_some() {
        if has < Right::admin(0) {
            return Err(Denied::NeedsAdmin { has });
        }
        for (subject, setting) in &operations {
            judge(rights, below, has, *subject, *setting)?;
        }
    } else if has < Right::WRITE {
        return Err(Denied::NeedsWrite { has });
    }
    Ok((!operations.is_empty()).then_some(SettingsChange { rank: Rank::Of(has), rights: operations }))
}

fn judge(rights: &Rights, below: &Seen, author: Right, subject: Subject, setting: Setting) -> Result<(), Denied> {
    let before = rights.own(subject, below);
    if before >= author {
        return Err(Denied::NotJunior { subject });
    }
    let most = if subject == Subject::Everybody { Right::admin(0) } else { author };
    match setting {
        Setting::Grant(right) if right > before && right < most => Ok(()),
        Setting::Grant(_) => Err(Denied::BadGrant { subject }),
        Setting::Limit(Right::NONE) => Ok(()),
        Setting::Limit(right) if right < before => Ok(()),
        Setting::Limit(_) => Err(Denied::BadLimit { subject }),
    }
}
