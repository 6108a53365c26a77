//! Failures that are known, and stay visible.

use std::path::Path;

use eidetica_contract::{Error, ErrorKind, Result};

use crate::report::{Executed, Outcome};

/// Cases that are known to fail, from a file of lines `CASE | SUBJECT | UNTIL | REASON`: `*` stands for any subject, `UNTIL` is a date
/// such as `2027-01-31`, and the reason is the rest of the line. Empty lines and those that begin with `#` say nothing.
///
/// The cases run all the same. One that passes, one that does not exist and one whose date is over fail the run; and whoever has
/// an entry is certified in part.
#[derive(Clone, Debug, Default)]
pub struct KnownFailures(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    case: String,
    subject: String,
    until: String,
    reason: String,
}

impl KnownFailures {
    /// Reads a file. Errors: `Io`; `InvalidInput` for a line of another form.
    pub fn read(path: &Path) -> Result<KnownFailures> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Io, "the file of known failures cannot be read")
                .with("path", path.display())
                .caused_by(error)
        })?;
        KnownFailures::parse(&text)
    }

    /// Reads its text. Errors: `InvalidInput` for a line of another form.
    pub fn parse(text: &str) -> Result<KnownFailures> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let entry = |(number, line): (usize, &str)| {
            let mut words = line.splitn(4, '|').map(|word| word.trim().to_owned());
            let mut next = || words.next().filter(|word| !word.is_empty());
            match (next(), next(), next(), next()) {
                (Some(case), Some(subject), Some(until), Some(reason)) if is_date(&until) => {
                    Ok(Entry { case, subject, until, reason })
                }
                _ => {
                    let message = "a known failure is written as `CASE | SUBJECT | YYYY-MM-DD | REASON`";
                    Err(Error::new(ErrorKind::InvalidInput, message).with("line", number + 1))
                }
            }
        };
        lines.map(entry).collect::<Result<_>>().map(KnownFailures)
    }

    /// True if nothing is known to fail.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, case: &str, subject: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.fits(case, subject))
    }

    /// Entries that name nothing that runs, and those that have expired.
    pub(crate) fn stale<'a>(&self, plan: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Vec<String> {
        let today = today();
        let stale = self.0.iter().filter_map(|entry| {
            if entry.until < today {
                return Some(format!("{} has expired ({})", entry.case, entry.until));
            }
            let runs = plan.clone().any(|(case, subject)| entry.fits(case, subject));
            (!runs).then(|| format!("{} on {} does not run", entry.case, entry.subject))
        });
        stale.collect()
    }

    /// Why what has come of a case fails the run; `None` if it does not.
    pub(crate) fn judge(&self, executed: &Executed) -> Option<String> {
        match (self.find(executed.case, &executed.subject.name), executed.outcome.is_good()) {
            (None, true) | (Some(_), false) => None,
            (None, false) => Some(executed.outcome.to_string()),
            (Some(entry), true) => {
                Some(format!("it passes, and is known to fail: {}; take the line out", entry.reason))
            }
        }
    }

    pub(crate) fn knows(&self, executed: &Executed) -> bool {
        !matches!(executed.outcome, Outcome::Passed | Outcome::Refused)
            && self.find(executed.case, &executed.subject.name).is_some()
    }
}

impl Entry {
    fn fits(&self, case: &str, subject: &str) -> bool {
        self.case == case && (self.subject == "*" || self.subject == subject)
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2)
        && parts.iter().all(digits)
}

/// Today in UTC, as `YYYY-MM-DD`, which compares as text.
fn today() -> String {
    let seconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The date so many days after 1970-01-01, counted in years that begin in March, so that a leap day is their last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_783), (2026, 11, 26));
    }

    #[test]
    fn what_is_stale_is_told() {
        let known = KnownFailures::parse(
            "# why\n\na.b | x | 2999-01-01 | for a reason\na.c | * | 2001-01-01 | old\nno.such | * | 2999-01-01 | gone\n",
        );
        let known = known.unwrap();
        let plan = [("a.b", "x"), ("a.c", "x")];
        let stale = known.stale(plan.into_iter());
        assert_eq!(stale.len(), 2, "{stale:?}");
        assert!(stale[0].contains("a.c has expired") && stale[1].contains("no.such"), "{stale:?}");
        assert!(KnownFailures::parse("a.b | x | tomorrow | why").is_err());
        assert!(KnownFailures::parse("a.b | x | 2999-01-01").is_err());
    }
}
