//! Whether an entry's author could have written it: a function of what is below the entry, and of nothing else (rule 6).
//!
//! Which settings entries below it count is itself a question of the set below it alone; see [`judge`](super::judge).

use std::fmt;

use super::delta::{Setting, Settings, Subject};
use super::judge::Need;
use super::right::Right;
use super::rights::{Rank, Rights, SettingsEntry};
use super::standing::{Standing, limited};
use crate::dag::{Numbers, Seen};
use crate::entry::Header;

/// What the door has found of an entry that passes.
#[derive(Debug)]
pub(crate) struct Admission {
    rank: Rank,
    steps_down: bool,
    rights: Vec<(Subject, Setting)>,
    /// What it needs for as long as it is to count.
    pub need: Need,
    void_below: Numbers,
}

impl Admission {
    /// The entry as a settings entry, if it is one.
    pub fn settings_entry(self, number: u64, header: &Header, below: &Seen) -> Option<SettingsEntry> {
        let Admission { rank, steps_down, rights, void_below, .. } = self;
        (!rights.is_empty()).then(|| SettingsEntry {
            number,
            author: header.author,
            below: below.clone(),
            rank,
            steps_down,
            rights,
            void_below,
        })
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
) -> Result<Admission, Denied> {
    let void_below = rights.void_in(below);
    let standing = rights.standing_without(void_below.clone());
    let operations = settings.map(|settings| settings.rights.clone()).unwrap_or_default();
    let admission = |rank, steps_down, need, rights| Admission { rank, steps_down, rights, need, void_below };
    let author = header.author;
    if header.parents.is_empty() {
        return Ok(admission(Rank::AboveAll, false, Need::Nothing, operations));
    }
    let has = standing.of(author, below);
    let own = Subject::Key(author);
    if let Some((_, setting)) = operations.iter().find(|(subject, _)| *subject == own)
        && let Setting::Limit(to) = setting
    {
        let alone = operations.len() == 1
            && header.stores.len() == 1
            && settings.is_some_and(|settings| settings.values.len() == 0);
        let before = standing.own(own, below);
        // It must take something of the own right. A limit to none takes from a key that never had a setting, too: what
        // everybody has.
        let lowers = limited(*to, before) < before;
        return match alone && lowers {
            true => Ok(admission(Rank::AboveAll, true, Need::Nothing, operations)),
            false => Err(Denied::BadStepDown),
        };
    }
    if settings.is_none() {
        return match has < Right::WRITE {
            true => Err(Denied::NeedsWrite { has }),
            false => Ok(admission(Rank::Of(has), false, Need::Right(Right::WRITE), operations)),
        };
    }
    if has < Right::admin(0) {
        return Err(Denied::NeedsAdmin { has });
    }
    for (subject, setting) in &operations {
        judge(&standing, below, has, *subject, *setting)?;
    }
    // Values such as the name take an admin, however strong.
    let need = if operations.is_empty() { Right::admin(0) } else { has };
    Ok(admission(Rank::Of(has), false, Need::Right(need), operations))
}

fn judge(
    standing: &Standing<'_>,
    below: &Seen,
    author: Right,
    subject: Subject,
    setting: Setting,
) -> Result<(), Denied> {
    let before = standing.own(subject, below);
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
