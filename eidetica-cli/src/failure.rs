//! How a command fails: what is said, and with which exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use eidetica::{Error, ErrorKind};

/// Something went wrong that the command cannot mend.
pub const FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// A store, database, table, row, field or file is not there.
pub const NOT_FOUND: u8 = 3;
/// `verify` has found problems, or that bodies are missing.
pub const PROBLEMS: u8 = 4;
/// An admin of the database has to decide first.
pub const PENDING: u8 = 5;
/// Ctrl-C, by the convention of shells; SIGTERM counts as the same.
pub const INTERRUPTED: u8 = 130;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// With an error to report.
    Error(Error),
    /// With an error that lies in the command line, and could not be told from its form alone.
    Usage(Error),
    /// Nobody reads what is written, as in `| head`: that is no fault.
    Unread,
    /// By Ctrl-C or SIGTERM; what there is to say has been said.
    Interrupted,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl Failure {
    pub fn starting(error: io::Error) -> Failure {
        Error::new(ErrorKind::Io, "the command cannot start its threads; see the cause").caused_by(error).into()
    }

    /// From writing to standard output.
    pub fn writing(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Error::new(ErrorKind::Io, "the output cannot be written").caused_by(error).into(),
        }
    }

    /// Says what was wrong, and returns the exit code.
    pub fn report(self, json: bool) -> ExitCode {
        let code = self.code();
        if let Failure::Error(error) | Failure::Usage(error) = &self {
            let mut line = if json { as_json(error) } else { as_text(error) };
            line.push('\n');
            // With standard error gone, too, there is nobody left to tell.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
        ExitCode::from(code)
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Unread => 0,
            Failure::Interrupted => INTERRUPTED,
            Failure::Usage(_) => USAGE,
            Failure::Error(error) if error.kind() == ErrorKind::NotFound => NOT_FOUND,
            Failure::Error(error) if error.kind() == ErrorKind::Pending => PENDING,
            Failure::Error(_) => FAILED,
        }
    }
}

/// What the command line lacks; also help and version, which clap hands over as errors.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::writing(error).report(false),
        };
    }
    // The arguments could not be read, so whether JSON is wanted has to be seen in their raw form.
    if std::env::args_os().any(|argument| argument == "--json") {
        let rendered = error.render().to_string();
        let mut message = rendered.trim().trim_start_matches("error: ").to_owned();
        if let Some(end) = message.find("\n\nUsage:") {
            message.truncate(end);
        }
        let json = serde_json::json!({
            "error": { "kind": "Usage", "message": message, "context": {}, "causes": [], "retryable": false },
        });
        let _ = writeln!(io::stderr().lock(), "{json}");
    } else {
        let _ = error.print();
    }
    ExitCode::from(USAGE)
}

fn as_text(error: &Error) -> String {
    let mut text = format!("error: {}", error.message());
    for (name, value) in error.context_pairs() {
        text.push_str(&format!("\n  {name}: {}", crate::text::escaped(value)));
    }
    for cause in error.causes() {
        text.push_str(&format!("\n  cause: {}", crate::text::escaped(&cause)));
    }
    text
}

fn as_json(error: &Error) -> String {
    serde_json::json!({ "error": document(error) }).to_string()
}

/// An error for programs.
pub fn document(error: &Error) -> serde_json::Value {
    let context: serde_json::Map<String, serde_json::Value> =
        error.context_pairs().map(|(name, value)| (name.to_owned(), value.into())).collect();
    serde_json::json!({
        "kind": format!("{:?}", error.kind()),
        "message": error.message(),
        "context": context,
        "causes": error.causes(),
        "retryable": error.is_retryable(),
    })
}
