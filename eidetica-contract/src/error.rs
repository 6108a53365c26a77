//! The one error type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::{fmt, io};

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in a form that code can act on.
///
/// The numbers are fixed for ever, because they cross the wire and the plugin interface. An unknown number reads as
/// [`ErrorKind::Internal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum ErrorKind {
    /// A defect in this software: nothing that the caller did should lead here.
    Internal = 1,
    /// What was asked for does not exist.
    NotFound = 2,
    /// It exists already, and was to be created.
    AlreadyExists = 3,
    /// Somebody else changed it first; reading again and retrying may succeed.
    Conflict = 4,
    /// An argument, or bytes that were handed in, are malformed or out of range.
    InvalidInput = 5,
    /// This implementation, build or platform cannot do that.
    Unsupported = 6,
    /// The right for it is missing.
    PermissionDenied = 7,
    /// Somebody has to decide first; the context pair `request_id` names the request.
    Pending = 8,
    /// Stored data is damaged.
    Corrupted = 9,
    /// No space is left, or a quota is reached. Nothing was lost; making room and retrying may succeed.
    Full = 10,
    /// The store can be read but not written.
    ReadOnly = 11,
    /// Another process or handle holds what is needed.
    Locked = 12,
    /// It was written by a newer version; it was left untouched.
    NewerFormat = 13,
    /// It has been closed.
    Closed = 14,
    /// The deadline passed; whether the other side acted is unknown.
    Timeout = 15,
    /// The other side cannot be reached.
    Unreachable = 16,
    /// Larger than a stated limit.
    TooLarge = 17,
    /// Who the other side is was not proven, or the proof was wrong.
    Unauthenticated = 18,
    /// The operating system refused an operation for another reason.
    Io = 19,
    /// A run-time plugin broke the rules of its interface.
    PluginFault = 20,
    /// The value there has another type than the one asked for.
    WrongType = 21,
    /// The position of a cursor was lost in a crash, or lies in a forgotten past.
    CursorLost = 22,
    /// Too many requests, connections or waiting items.
    Busy = 23,
}

impl ErrorKind {
    const ALL: [ErrorKind; 23] = [
        ErrorKind::Internal,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Conflict,
        ErrorKind::InvalidInput,
        ErrorKind::Unsupported,
        ErrorKind::PermissionDenied,
        ErrorKind::Pending,
        ErrorKind::Corrupted,
        ErrorKind::Full,
        ErrorKind::ReadOnly,
        ErrorKind::Locked,
        ErrorKind::NewerFormat,
        ErrorKind::Closed,
        ErrorKind::Timeout,
        ErrorKind::Unreachable,
        ErrorKind::TooLarge,
        ErrorKind::Unauthenticated,
        ErrorKind::Io,
        ErrorKind::PluginFault,
        ErrorKind::WrongType,
        ErrorKind::CursorLost,
        ErrorKind::Busy,
    ];

    /// The fixed number of this kind.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The kind with this number; [`ErrorKind::Internal`] for a number this version does not know.
    pub fn from_number(number: u32) -> ErrorKind {
        Self::ALL.into_iter().find(|kind| kind.number() == number).unwrap_or(ErrorKind::Internal)
    }

    fn default_retry(self) -> Retry {
        match self {
            ErrorKind::Conflict => Retry::Now,
            ErrorKind::Pending
            | ErrorKind::Full
            | ErrorKind::Locked
            | ErrorKind::Timeout
            | ErrorKind::Unreachable
            | ErrorKind::Busy => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// What the operating system has refused, as a kind to act on: `NotFound`, `AlreadyExists`, `PermissionDenied`, `Full` (no space, or a
/// quota), `ReadOnly` (the file system), `Locked` (an address in use), `InvalidInput` (an address that this machine does not have),
/// `Unreachable` (no connection, or it broke), `Timeout`; `Io` for the rest.
///
/// ```
/// use std::io;
/// use eidetica_contract::{Error, ErrorKind};
///
/// let refused = io::Error::from(io::ErrorKind::StorageFull);
/// let error = Error::new(refused.kind().into(), "the journal cannot be written; make room").caused_by(refused);
/// assert_eq!(error.kind(), ErrorKind::Full);
/// ```
impl From<io::ErrorKind> for ErrorKind {
    fn from(kind: io::ErrorKind) -> ErrorKind {
        use io::ErrorKind as Refused;
        match kind {
            Refused::NotFound => ErrorKind::NotFound,
            Refused::AlreadyExists => ErrorKind::AlreadyExists,
            Refused::PermissionDenied => ErrorKind::PermissionDenied,
            Refused::StorageFull | Refused::QuotaExceeded => ErrorKind::Full,
            Refused::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            Refused::AddrInUse => ErrorKind::Locked,
            Refused::AddrNotAvailable => ErrorKind::InvalidInput,
            Refused::ConnectionRefused
            | Refused::ConnectionReset
            | Refused::ConnectionAborted
            | Refused::NotConnected
            | Refused::BrokenPipe
            | Refused::HostUnreachable
            | Refused::NetworkUnreachable
            | Refused::NetworkDown => ErrorKind::Unreachable,
            Refused::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Io,
        }
    }
}

/// Whether the same call may succeed when it is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum Retry {
    /// Not without a change by somebody.
    Never = 0,
    /// At once, after reading again what it was based on.
    Now = 1,
    /// After a pause.
    Later = 2,
}

/// An error: a kind to act on, a sentence that says what was wrong and what to do, and where it came from.
///
/// ```
/// use eidetica_contract::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Full, "the disk is full; make room and try again").with("path", "/data/notes.db");
/// assert_eq!(error.kind(), ErrorKind::Full);
/// assert!(error.is_retryable());
/// assert_eq!(error.context("path"), Some("/data/notes.db"));
/// assert_eq!(error.to_string(), "the disk is full; make room and try again (path: /data/notes.db)");
/// ```
#[derive(thiserror::Error)]
#[error("{}{}", .0.message, Pairs(&.0.context))]
pub struct Error(#[source] Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    context: Vec<(Cow<'static, str>, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message says what was wrong and, where there is something to do, what.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        let retry = kind.default_retry();
        Error(Box::new(Inner { kind, retry, message: message.into(), context: Vec::new(), source: None }))
    }

    /// Adds a name and a value that help to find the cause, or to act on it.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Error {
        self.0.context.push((name.into(), value.to_string()));
        self
    }

    /// Sets the error below this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Replaces the retry hint that the kind brings with it.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Error {
        self.0.retry = retry;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether and when to try again.
    pub fn retry_hint(&self) -> Retry {
        self.0.retry
    }

    /// True if the same call may succeed later without a change of its arguments.
    pub fn is_retryable(&self) -> bool {
        self.0.retry != Retry::Never
    }

    /// The sentence, without the context pairs.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The value of a context pair.
    pub fn context(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All context pairs, in the order in which they were added.
    pub fn context_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// What the error came from, as sentences: the next cause first, and none twice.
    ///
    /// ```
    /// use eidetica_contract::{Error, ErrorKind};
    ///
    /// let below = Error::new(ErrorKind::Io, "the disk does not answer").caused_by(std::io::Error::other("a bad cable"));
    /// let error = Error::new(ErrorKind::Corrupted, "the store cannot be read").caused_by(below);
    /// assert_eq!(error.causes(), ["the disk does not answer", "a bad cable"]);
    /// assert!(Error::new(ErrorKind::Full, "the disk is full").causes().is_empty());
    /// ```
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut source = self.0.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(cause) = source {
            // An error of this type has itself once more below it, without its sentence.
            let own = cause.downcast_ref::<Error>();
            causes.push(cause.to_string());
            source = match own {
                Some(own) => own.0.source.as_deref().map(|source| source as &dyn StdError),
                None => cause.source(),
            };
        }
        causes
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self)?;
        self.causes().iter().try_for_each(|cause| write!(f, "; caused by: {cause}"))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => source.fmt(f),
            None => f.write_str("no further cause"),
        }
    }
}

impl StdError for Inner {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().and_then(StdError::source)
    }
}

struct Pairs<'a>(&'a [(Cow<'static, str>, String)]);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}: {value}", if index == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fixed_and_dense() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.number(), index as u32 + 1);
            assert_eq!(ErrorKind::from_number(kind.number()), kind);
        }
        assert_eq!(ErrorKind::from_number(0), ErrorKind::Internal);
        assert_eq!(ErrorKind::from_number(4_000_000), ErrorKind::Internal);
    }

    #[test]
    fn the_source_is_reachable_once() {
        let below = std::io::Error::other("the cable is cut");
        let error = Error::new(ErrorKind::Io, "cannot write").caused_by(below);
        assert!(format!("{error:?}").contains("the cable is cut"));
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string).as_deref(), Some("the cable is cut"));
    }
}
