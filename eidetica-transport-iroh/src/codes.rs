//! The numbers by which streams and connections end, and what a caller makes of them.

use eidetica_contract::{Error, ErrorKind};
use iroh::endpoint::{ConnectionError, VarInt};

/// A stream that nobody wants any more.
pub(crate) const ABANDONED: VarInt = VarInt::from_u32(0);
/// A connection that is not needed any more, or whose side ends.
pub(crate) const DONE: VarInt = VarInt::from_u32(1);
/// A connection that is one too many.
pub(crate) const BUSY: VarInt = VarInt::from_u32(2);

/// What a stream is reset with. To strangers the kind alone is said: messages of this process may name its files.
pub(crate) fn of(kind: ErrorKind) -> VarInt {
    VarInt::from_u32(kind.number())
}

/// What a caller makes of a reset.
///
/// Kinds that speak of the other process alone, its disk or its state, would mislead here: they become `Unreachable`.
pub(crate) fn understood(code: VarInt) -> Error {
    match u32::try_from(code.into_inner()).map(ErrorKind::from_number) {
        Ok(
            kind @ (ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::InvalidInput
            | ErrorKind::Unsupported
            | ErrorKind::PermissionDenied
            | ErrorKind::Pending
            | ErrorKind::Full
            | ErrorKind::TooLarge
            | ErrorKind::Unauthenticated
            | ErrorKind::Busy),
        ) => Error::new(kind, "the peer refused the request"),
        _ => Error::new(ErrorKind::Unreachable, "the peer could not answer"),
    }
}

/// What a caller makes of the end of a connection with a request on it.
pub(crate) fn lost(error: ConnectionError) -> Error {
    let (kind, message) = match &error {
        ConnectionError::ApplicationClosed(close) if close.error_code == BUSY => {
            (ErrorKind::Busy, "the peer has too many connections")
        }
        _ => (ErrorKind::Unreachable, "the connection to the peer was lost; it may have seen the request"),
    };
    Error::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_say_something_about_the_request_are_kept() {
        for (said, heard) in [
            (ErrorKind::Full, ErrorKind::Full),
            (ErrorKind::Busy, ErrorKind::Busy),
            (ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
            (ErrorKind::Corrupted, ErrorKind::Unreachable),
            (ErrorKind::Closed, ErrorKind::Unreachable),
            (ErrorKind::Timeout, ErrorKind::Unreachable),
        ] {
            assert_eq!(understood(of(said)).kind(), heard);
        }
        for code in [VarInt::from_u32(0), VarInt::from_u32(4_000_000_000), VarInt::MAX] {
            assert_eq!(understood(code).kind(), ErrorKind::Unreachable);
        }
    }
}
