//! What stands inside frames.

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind};

use super::wire::Fields;

/// What the calling side sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A whole request.
    Whole(Bytes),
    /// A part of a request.
    Part(Part),
    /// Send a part of the reply to the request with this counter.
    Fetch { request: u32, index: u32 },
    /// The session is no longer needed.
    Close(CloseReason),
}

/// A part of a large message: which message of the session, which part, how many bytes the whole has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) message: u32,
    pub(crate) index: u32,
    pub(crate) total: u32,
    pub(crate) data: Bytes,
}

/// What the answering side sends; in front of it stands the counter of the request that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// A whole reply.
    Whole(Bytes),
    /// The first part of a reply of so many bytes; the others are fetched.
    First { total: u32, data: Bytes },
    /// A part that was fetched.
    Part { index: u32, data: Bytes },
    /// The part is here, others are missing.
    Stored,
    /// The request came to nothing.
    Failed(u32),
    /// The session is closed; the request was not looked at.
    Closed(CloseReason),
}

/// Why a session was closed, by number on the wire. An unknown number reads as [`CloseReason::Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum CloseReason {
    /// It is no longer needed.
    Done = 0,
    /// It has grown old, or has carried as much as it may; a new one is welcome.
    Renew = 1,
    /// The other side is shutting down.
    ShuttingDown = 2,
    /// The peer is not wanted here, for example because it was removed.
    NotWelcome = 3,
    /// The peer broke the rules of the session.
    Violation = 4,
}

impl CloseReason {
    fn from_number(number: u8) -> CloseReason {
        match number {
            1 => CloseReason::Renew,
            2 => CloseReason::ShuttingDown,
            3 => CloseReason::NotWelcome,
            4 => CloseReason::Violation,
            _ => CloseReason::Done,
        }
    }

    /// What it is to the side that called.
    pub(crate) fn to_error(self) -> Error {
        let (kind, message) = match self {
            CloseReason::Done | CloseReason::Renew => (ErrorKind::Closed, "the other side has closed the session"),
            CloseReason::ShuttingDown => (ErrorKind::Unreachable, "the other side is shutting down"),
            CloseReason::NotWelcome => {
                (ErrorKind::PermissionDenied, "the other side does not want to talk to this device")
            }
            CloseReason::Violation => (ErrorKind::InvalidInput, "the other side says that this one broke the rules"),
        };
        Error::new(kind, message)
    }
}

impl Ask {
    /// The most bytes in front of the data.
    pub(crate) const HEAD: usize = 13;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Ask::Whole(payload) => {
                out.push(0);
                out.extend_from_slice(payload);
            }
            Ask::Part(Part { message, index, total, data }) => {
                out.push(1);
                [message, index, total].into_iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
                out.extend_from_slice(data);
            }
            Ask::Fetch { request, index } => {
                out.push(2);
                out.extend_from_slice(&request.to_be_bytes());
                out.extend_from_slice(&index.to_be_bytes());
            }
            Ask::Close(reason) => out.extend_from_slice(&[3, *reason as u8]),
        }
    }

    pub(crate) fn read(bytes: &Bytes) -> Option<Ask> {
        let mut fields = Fields::new(bytes);
        Some(match fields.byte()? {
            0 => Ask::Whole(bytes.slice(1..)),
            1 => {
                let (message, index, total) = (fields.u32()?, fields.u32()?, fields.u32()?);
                Ask::Part(Part { message, index, total, data: bytes.slice(13..) })
            }
            2 => Ask::Fetch { request: fields.u32()?, index: last(fields, Fields::u32)? },
            3 => Ask::Close(CloseReason::from_number(last(fields, Fields::byte)?)),
            _ => return None,
        })
    }
}

impl Say {
    /// The most bytes in front of the data, the counter of the request among them.
    pub(crate) const HEAD: usize = 9;

    pub(crate) fn write(&self, request: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&request.to_be_bytes());
        let (tag, number, data): (u8, Option<u32>, &[u8]) = match self {
            Say::Whole(payload) => (0, None, payload),
            Say::First { total, data } => (1, Some(*total), data),
            Say::Part { index, data } => (2, Some(*index), data),
            Say::Stored => (3, None, &[]),
            Say::Failed(kind) => (4, Some(*kind), &[]),
            Say::Closed(reason) => (5, None, &[*reason as u8]),
        };
        out.push(tag);
        number.into_iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        out.extend_from_slice(data);
    }

    /// The counter of the request, and what is said about it.
    pub(crate) fn read(bytes: &Bytes) -> Option<(u32, Say)> {
        let mut fields = Fields::new(bytes);
        let request = fields.u32()?;
        let say = match fields.byte()? {
            0 => Say::Whole(bytes.slice(5..)),
            1 => Say::First { total: fields.u32()?, data: bytes.slice(9..) },
            2 => Say::Part { index: fields.u32()?, data: bytes.slice(9..) },
            3 if fields.is_empty() => Say::Stored,
            4 => Say::Failed(last(fields, Fields::u32)?),
            5 => Say::Closed(CloseReason::from_number(last(fields, Fields::byte)?)),
            _ => return None,
        };
        Some((request, say))
    }
}

/// A field behind which nothing may stand.
fn last<'b, T>(mut fields: Fields<'b>, read: impl FnOnce(&mut Fields<'b>) -> Option<T>) -> Option<T> {
    let field = read(&mut fields)?;
    fields.rest().is_empty().then_some(field)
}
