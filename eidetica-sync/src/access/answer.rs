//! What is answered to a request for access.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::auth::Permission;

use super::request::{Wanted, permission_number, permission_of, read_text, write_text};
use crate::session::wire::Fields;

/// The longest reason for a rejection in bytes.
pub const MAX_REASON: usize = 1024;

mod kind {
    pub(super) const PENDING: u8 = 0;
    pub(super) const GRANTED: u8 = 1;
    pub(super) const REJECTED: u8 = 2;
    pub(super) const NOTHING: u8 = 3;
}

/// What a request is called by the side that was asked: the same for the same request, another one for any other. It is shown
/// as 32 hexadecimal digits, and says nothing about the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) [u8; 16]);

/// What is answered to a request for access.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Somebody has to decide. Also said of databases that are not there, or not for others: that cannot be told apart.
    Pending(RequestId),
    /// The key may do this, and perhaps less than was wanted, if an admin has granted less.
    Granted(Permission),
    /// An admin has said no.
    Rejected {
        /// Which request was rejected.
        id: RequestId,
        /// Why, in the words of the admin; may be empty.
        reason: String,
    },
    /// The key may do nothing that this side would tell. Said only to who asks for nothing in particular.
    Nothing,
}

impl Answer {
    /// The answer as it travels.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(32);
        match self {
            Answer::Pending(id) => {
                out.push(kind::PENDING);
                out.extend_from_slice(&id.0);
            }
            Answer::Granted(permission) => {
                out.extend_from_slice(&[kind::GRANTED, permission_number(Some(*permission))])
            }
            Answer::Rejected { id, reason } => {
                out.push(kind::REJECTED);
                out.extend_from_slice(&id.0);
                write_text(&mut out, reason);
            }
            Answer::Nothing => out.push(kind::NOTHING),
        }
        out.into()
    }

    /// Reads an answer; `None` if it has another form.
    pub fn parse(bytes: &[u8]) -> Option<Answer> {
        let mut fields = Fields::new(bytes);
        let answer = match fields.byte()? {
            kind::PENDING => Answer::Pending(RequestId(fields.array()?)),
            kind::GRANTED => Answer::Granted(permission_of(fields.byte()?)??),
            kind::REJECTED => {
                let id = RequestId(fields.array()?);
                let reason = read_text(&mut fields, MAX_REASON)?;
                // It will be shown to people.
                Answer::Rejected { id, reason: Some(reason).filter(|reason| is_clean(reason))? }
            }
            kind::NOTHING => Answer::Nothing,
            _ => return None,
        };
        fields.is_empty().then_some(answer)
    }

    /// What the key may do, or the error that tells the application why it has to wait or stays out.
    ///
    /// Errors, with the context pairs `database` and `key`: [`ErrorKind::Pending`] with `request_id`;
    /// [`ErrorKind::PermissionDenied`] with the `reason` `access_rejected`, `request_id` and what the admin said as `because`, or
    /// with the `reason` `no_access`.
    pub fn into_result(self, wanted: &Wanted) -> Result<Permission> {
        let error = match self {
            Answer::Granted(permission) => return Ok(permission),
            Answer::Pending(id) => {
                let message = "an admin of the database has to decide first; access comes with a later sync by itself";
                Error::new(ErrorKind::Pending, message).with("reason", "access_pending").with("request_id", id)
            }
            Answer::Rejected { id, reason } => {
                let message = "an admin of the database has rejected the request for access; ask the admin why";
                let error = Error::new(ErrorKind::PermissionDenied, message).with("reason", "access_rejected");
                error.with("request_id", id).with("because", reason)
            }
            Answer::Nothing => {
                let message = "the key has no access there; ask for a permission";
                Error::new(ErrorKind::PermissionDenied, message).with("reason", "no_access")
            }
        };
        Err(error.with("database", wanted.database).with("key", wanted.key))
    }
}

/// True for a reason that can be shown as it is.
pub(super) fn is_clean(reason: &str) -> bool {
    !reason.chars().any(|char| char.is_control() && char != '\n')
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = Error;

    fn from_str(text: &str) -> Result<RequestId> {
        let number = match text.len() {
            32 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => u128::from_str_radix(text, 16).ok(),
            _ => None,
        };
        let refused = || {
            let message = "not the id of a request for access; it has 32 hexadecimal digits";
            Error::new(ErrorKind::InvalidInput, message).with("request_id", text)
        };
        number.map(|number| RequestId(number.to_be_bytes())).ok_or_else(refused)
    }
}
