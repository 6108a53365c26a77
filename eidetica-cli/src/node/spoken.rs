//! What is said between a command and the process that serves the store: one JSON document on each line.
//!
//! The command says an [`Operation`]. Any number of lines `{"moved": …}` come back, then one `{"done": …}` or
//! `{"failed": …}`, and the connection stays open for the next operation.

use eidetica::{Error, ErrorKind, Retry};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The longest line that is read, in bytes.
#[cfg(unix)]
pub const LONGEST: u64 = 4 << 20;

/// What the node of a store can be asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Operation {
    /// Reach an address, and tell whose it is.
    Contact { address: String },
    /// Tell which databases the users of this store may read at an address.
    Discover { address: String },
    /// Send a request for access that was signed for the peer `to`: its bytes in base64.
    Request { address: String, to: String, request: String },
    /// Sync with an address, or with all peers: a database, or all.
    Sync { address: Option<String>, database: Option<String> },
    /// Tell how everything stands.
    Status,
    /// Read what other processes have changed.
    CatchUp,
    /// Change a field of a row, as the user without a password. For the demo, which measures how long this takes.
    Put { database: String, table: String, key: String, field: String, value: i64 },
    /// Tell a field of a row each time that something of the database has arrived. For the demo.
    Follow { database: String, table: String, key: String, field: String },
    /// Stop serving.
    Stop,
}

/// How far a transfer has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Moved {
    pub peer: String,
    pub database: String,
    pub received: u64,
    pub sent: u64,
    /// Entries that are still to come, as far as is known.
    pub left: u64,
}

/// What comes back.
#[cfg(unix)]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Moved(Json),
    Done(Json),
    Failed(Failed),
}

/// An error on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    kind: u32,
    message: String,
    context: Vec<(String, String)>,
    causes: Vec<String>,
    retry: u8,
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Failed {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Failed {
            kind: error.kind().number(),
            message: error.message().to_owned(),
            context: error.context_pairs().map(pair).collect(),
            causes: crate::failure::causes(error),
            retry: match error.retry_hint() {
                Retry::Now => 1,
                Retry::Later => 2,
                _ => 0,
            },
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        let retry = match failed.retry {
            1 => Retry::Now,
            2 => Retry::Later,
            _ => Retry::Never,
        };
        let mut error = Error::new(ErrorKind::from_number(failed.kind), failed.message).retry(retry);
        for (name, value) in failed.context {
            error = error.with(name, value);
        }
        match failed.causes.is_empty() {
            true => error,
            false => error.caused_by(failed.causes.join(": ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_was() {
        let cause = std::io::Error::other("out of luck");
        let error = Error::new(ErrorKind::Pending, "wait").with("request_id", "7").caused_by(cause);
        let error = error.retry(Retry::Later);
        let line = serde_json::to_string(&Failed::from(&error)).unwrap();
        let there: Error = serde_json::from_str::<Failed>(&line).unwrap().into();
        assert_eq!((there.kind(), there.message(), there.is_retryable()), (ErrorKind::Pending, "wait", true));
        assert_eq!(there.context("request_id"), Some("7"));
        assert!(crate::failure::causes(&there).join(" ").contains("out of luck"));
    }
}
