//! A report in the forms that others read: JSON, JUnit, markdown, a badge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use eidetica_contract::{Error, ErrorKind};
use serde_json::{Value as Json, json};

use super::{Executed, Report};

/// The version of the form of the JSON.
const SCHEMA: u32 = 1;

impl Report {
    /// Everything, for programs. `schema` is the version of this form.
    pub fn json(&self) -> Json {
        json!({
            "schema": SCHEMA,
            "suite": env!("CARGO_PKG_VERSION"),
            "seed": self.seed,
            "planned": self.planned,
            "certified": self.certifies(),
            "known_failures": self.known,
            "problems": self.problems,
            "cases": self.executed.iter().map(|one| {
                let mut case = json!({
                    "case": one.case, "level": one.level, "subject": one.subject, "witnesses": one.witnesses,
                    "milliseconds": one.took.as_millis() as u64,
                });
                if let (Json::Object(case), Ok(Json::Object(outcome))) = (&mut case, serde_json::to_value(&one.outcome)) {
                    case.extend(outcome);
                }
                case
            }).collect::<Vec<_>>(),
        })
    }

    /// For servers that build: a suite for each subject.
    pub fn junit(&self) -> String {
        let mut xml =
            String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"eidetica-conformance\">\n");
        for (subject, all) in self.by_subject() {
            let failures = all.iter().filter(|one| !one.outcome.is_good()).count();
            let _ = writeln!(
                xml,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
                escaped(subject),
                all.len()
            );
            for one in all {
                let seconds = one.took.as_secs_f64();
                let _ = write!(
                    xml,
                    "    <testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\"",
                    escaped(subject),
                    one.case
                );
                match one.outcome.is_good() {
                    true => xml.push_str("/>\n"),
                    false => {
                        let why = escaped(&format!("{}\n{}", one.outcome, one.replay()));
                        let _ = writeln!(xml, ">\n      <failure message=\"{why}\"/>\n    </testcase>");
                    }
                }
            }
            xml.push_str("  </testsuite>\n");
        }
        xml.push_str("</testsuites>\n");
        xml
    }

    /// A table for people: a row for each group of cases, a column for each subject.
    pub fn markdown(&self) -> String {
        let subjects: Vec<&str> = self.by_subject().into_keys().collect();
        let groups: BTreeSet<&str> = self.executed.iter().map(group).collect();
        let mut table = format!("| | {} |\n| --- |{}\n", subjects.join(" | "), " --- |".repeat(subjects.len()));
        for wanted in groups {
            let _ = write!(table, "| {wanted} |");
            for subject in &subjects {
                let all = self.executed.iter().filter(|one| one.subject.name == *subject && group(one) == wanted);
                let (mut good, mut bad) = (0, 0);
                for one in all {
                    *(if one.outcome.is_good() { &mut good } else { &mut bad }) += 1;
                }
                let _ = match (good, bad) {
                    (0, 0) => write!(table, " |"),
                    (good, 0) => write!(table, " {good} |"),
                    (good, bad) => write!(table, " {good}, **{bad} failed** |"),
                };
            }
            table.push('\n');
        }
        table
    }

    /// Writes the report to a file, in the form that its ending names: JUnit (`.xml`), the table (`.md`), the badge (`.badge.json`), and JSON
    /// for `.json`. Errors: `InvalidInput` for another ending, `Io`.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = match name.rsplit_once('.') {
            Some((_, "xml")) => self.junit(),
            Some((_, "md")) => self.markdown(),
            Some((name, "json")) if name.ends_with(".badge") => format!("{:#}\n", self.badge()),
            Some((_, "json")) => format!("{:#}\n", self.json()),
            _ => {
                let message = "a report is written as `.json`, `.badge.json`, `.xml` or `.md`";
                return Err(Error::new(ErrorKind::InvalidInput, message).with("path", path.display()));
            }
        };
        std::fs::write(path, text).map_err(|error| {
            let message = "the report cannot be written";
            Error::new(ErrorKind::Io, message).with("path", path.display()).caused_by(error)
        })
    }

    /// A badge, in the form of shields.io's endpoint.
    pub fn badge(&self) -> Json {
        let (message, color) = match (self.certifies(), self.partial) {
            (true, false) => ("certified", "brightgreen"),
            (true, true) => ("certified in part", "yellow"),
            (false, _) => ("not certified", "red"),
        };
        json!({ "schemaVersion": 1, "label": "eidetica", "message": message, "color": color })
    }

    fn by_subject(&self) -> BTreeMap<&str, Vec<&Executed>> {
        let mut all: BTreeMap<&str, Vec<&Executed>> = BTreeMap::new();
        for one in &self.executed {
            all.entry(&one.subject.name).or_default().push(one);
        }
        all
    }
}

/// `backend.commit` of `backend.commit.is-atomic`.
fn group(one: &Executed) -> &str {
    one.case.rsplit_once('.').map_or(one.case, |(group, _)| group)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            // XML has no way to write most of the others.
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Outcome, Subject};
    use super::*;
    use crate::{KnownFailures, Level};

    fn one(case: &'static str, outcome: Outcome) -> Executed {
        let subject = Subject { name: "x:{tmp}".to_owned(), declares: Json::Null };
        let took = Duration::from_millis(5);
        Executed { case, level: Level::Must, subject, seed: 7, took, witnesses: Vec::new(), outcome }
    }

    fn report(executed: Vec<Executed>, known: &str) -> Report {
        Report::new(7, executed.len(), executed, &KnownFailures::parse(known).unwrap())
    }

    #[test]
    fn only_a_whole_run_without_failures_certifies() {
        let failed = Outcome::Failed { why: "<it> & \"so\"\n\u{1}".to_owned() };
        let good = report(vec![one("a.b.c", Outcome::Passed), one("a.b.d", Outcome::Refused)], "");
        assert!(good.certifies());
        assert_eq!(good.badge()["message"], "certified");
        assert!(good.markdown().contains("| a.b | 2 |"), "{}", good.markdown());
        let bad = report(vec![one("a.b.c", failed.clone())], "");
        assert!(!bad.certifies());
        assert!(bad.junit().contains("&lt;it&gt; &amp; &quot;so&quot;&#10;\u{fffd}"), "{}", bad.junit());
        assert_eq!(bad.json()["cases"][0]["outcome"], "failed");
        assert!(!Report::new(7, 2, vec![one("a.b.c", Outcome::Passed)], &KnownFailures::default()).certifies());
        assert!(!report(Vec::new(), "").certifies(), "nothing has run");
        assert!(!report(vec![one("a.b.c", Outcome::Inconclusive { missing: "x".into() })], "").certifies());
        let known = "a.b.c | * | 2999-01-01 | slow disks";
        let partial = report(vec![one("a.b.c", failed)], known);
        assert!(partial.certifies() && partial.badge()["message"] == "certified in part");
        assert_eq!(partial.known, 1);
        assert!(!report(vec![one("a.b.c", Outcome::Passed)], known).certifies(), "it passes");
    }
}
