//! An error on its way to another process.

use eidetica_contract::{Error, ErrorKind, Retry};
use serde::{Deserialize, Serialize};

/// An [`Error`] in a form that serde can write: kind, message, context, causes and what retrying promises all arrive.
///
/// ```
/// use eidetica_backend_lent::SpokenError;
/// use eidetica_contract::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Full, "no room").with("path", "notes.db");
/// let there: Error = SpokenError::from(&error).into();
/// assert_eq!((there.kind(), there.message(), there.context("path")), (ErrorKind::Full, "no room", Some("notes.db")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokenError {
    kind: u32,
    message: String,
    context: Vec<(String, String)>,
    causes: Vec<String>,
    retry: u8,
}

impl From<&Error> for SpokenError {
    fn from(error: &Error) -> SpokenError {
        SpokenError {
            kind: error.kind().number(),
            message: error.message().to_owned(),
            context: error.context_pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            causes: error.causes(),
            retry: match error.retry_hint() {
                Retry::Now => 1,
                Retry::Later => 2,
                _ => 0,
            },
        }
    }
}

impl From<SpokenError> for Error {
    fn from(spoken: SpokenError) -> Error {
        let retry = match spoken.retry {
            1 => Retry::Now,
            2 => Retry::Later,
            _ => Retry::Never,
        };
        let mut error = Error::new(ErrorKind::from_number(spoken.kind), spoken.message).retry(retry);
        for (name, value) in spoken.context {
            error = error.with(name, value);
        }
        match spoken.causes.is_empty() {
            true => error,
            false => error.caused_by(spoken.causes.join(": ")),
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
        let there: Error = SpokenError::from(&error).into();
        assert_eq!((there.kind(), there.message(), there.is_retryable()), (ErrorKind::Pending, "wait", true));
        assert_eq!(there.context("request_id"), Some("7"));
        assert!(there.causes().join(" ").contains("out of luck"));
    }
}
