//! What has come of a run.

mod forms;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::known::KnownFailures;
use crate::{Level, cases};

/// What has come of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The seed from which everything random derives.
    pub seed: u64,
    /// How many cases were to run.
    pub planned: usize,
    /// What has run.
    pub executed: Vec<Executed>,
    /// How many failures were known.
    pub known: usize,
    /// What fails the run.
    problems: Vec<String>,
    /// True if there is a file of known failures with something in it.
    partial: bool,
}

/// A case that has run on a subject.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Executed {
    /// The id of the case.
    pub case: &'static str,
    /// How bad failing is.
    pub level: Level,
    /// What it ran on.
    pub subject: Subject,
    /// The seed of the run.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// What has happened in it.
    pub witnesses: Vec<&'static str>,
    /// How it has ended.
    pub outcome: Outcome,
}

/// What was certified, as it describes itself.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Subject {
    /// URL or name.
    pub name: String,
    /// What it declares.
    pub declares: serde_json::Value,
}

/// How a case has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It is so.
    Passed,
    /// What is not declared is refused, as it must be.
    Refused,
    /// It is not so.
    Failed {
        /// What was found.
        why: String,
    },
    /// It did not end in time.
    TimedOut {
        /// How long it had.
        seconds: u64,
    },
    /// It never came to see what it was made to look at.
    Inconclusive {
        /// What has not happened.
        missing: String,
    },
}

impl Outcome {
    /// True if the subject is as it must be.
    pub fn is_good(&self) -> bool {
        matches!(self, Outcome::Passed | Outcome::Refused)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => f.write_str("passed"),
            Outcome::Refused => f.write_str("refused, as it must be"),
            Outcome::Failed { why } => write!(f, "failed: {why}"),
            Outcome::TimedOut { seconds } => write!(f, "not at its end after {seconds} s"),
            Outcome::Inconclusive { missing } => write!(f, "shows nothing, as this never happened: {missing}"),
        }
    }
}

impl Executed {
    /// How to run it once more.
    pub fn replay(&self) -> String {
        let (case, subject, seed) = (self.case, &self.subject.name, self.seed);
        // A kind of store is code, which the command does not have.
        let again = match case.starts_with("kind.") {
            true => format!("EIDETICA_SEED={seed} cargo test -- --exact '{subject}::{case}'"),
            false => format!("eidetica-conformance replay {case} --subject '{subject}' --seed {seed}"),
        };
        format!("the contract says: {}\nagain: {again}", self.sentence())
    }

    /// The sentence that the case checks.
    pub fn sentence(&self) -> &'static str {
        cases().find(|case| case.id == self.case).map_or("", |case| case.sentence)
    }
}

impl Report {
    pub(crate) fn new(seed: u64, planned: usize, executed: Vec<Executed>, known: &KnownFailures) -> Report {
        let mut problems = known.stale(executed.iter().map(|one| (one.case, one.subject.name.as_str())));
        for one in &executed {
            if let Some(why) = known.judge(one) {
                problems.push(format!("{} on {}: {why}", one.case, one.subject.name));
            }
        }
        let known_failures = executed.iter().filter(|one| known.knows(one)).count();
        Report { seed, planned, executed, known: known_failures, problems, partial: !known.is_empty() }
    }

    /// What fails the run, a line for each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// True if everything planned has run, something was planned, and nothing fails.
    pub fn certifies(&self) -> bool {
        self.problems.is_empty() && !self.is_vacuous()
    }

    fn is_vacuous(&self) -> bool {
        self.executed.is_empty() || self.executed.len() != self.planned
    }

    /// 0: certified. 1: failures. 3: not everything planned has run, or nothing was planned. 4: certified but for what is known
    /// to fail.
    pub fn exit_code(&self) -> ExitCode {
        let code = match (self.problems.is_empty(), self.is_vacuous(), self.partial) {
            (false, _, _) => 1,
            (true, true, _) => 3,
            (true, false, true) => 4,
            (true, false, false) => 0,
        };
        ExitCode::from(code)
    }
}
