//! Errors that several places answer with the same words.

use eidetica_contract::{Error, ErrorKind};

/// Stored bytes that this program wrote and now cannot read.
pub(crate) fn damaged(what: &'static str) -> Error {
    let message = "the store is damaged; `verify` shows where, and what `reindex` can rebuild from the entries";
    Error::new(ErrorKind::Corrupted, message).with("damaged", what)
}

/// A task of the database has ended, which happens only when it is closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the database has been closed")
}

/// Somebody handed in something that cannot be.
pub(crate) fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
