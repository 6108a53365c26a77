//! What is said instead of an answer, and what becomes of it on the other side.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use eidetica_contract::{Error, ErrorKind};

/// Holds the number of an [`ErrorKind`].
const KIND: HeaderName = HeaderName::from_static("eidetica-error");

/// Why a request gets no answer. To strangers the kind alone is said: messages of this process may name its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) kind: ErrorKind,
    pub(crate) text: &'static str,
}

impl Refusal {
    pub(crate) const NOBODY: Refusal = Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        kind: ErrorKind::Unreachable,
        text: "no peer listens here now",
    };
    pub(crate) const BUSY: Refusal =
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, kind: ErrorKind::Busy, text: "too many requests at once" };
    pub(crate) const TYPE: Refusal = Refusal {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        kind: ErrorKind::InvalidInput,
        text: "a message is sent as application/octet-stream, without an encoding",
    };
    pub(crate) const TOO_LARGE: Refusal = Refusal {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        kind: ErrorKind::TooLarge,
        text: "the message is larger than this peer takes",
    };
    pub(crate) const SLOW: Refusal = Refusal {
        status: StatusCode::REQUEST_TIMEOUT,
        kind: ErrorKind::Timeout,
        text: "the message did not arrive in time",
    };
    pub(crate) const BROKEN: Refusal = Refusal {
        status: StatusCode::BAD_REQUEST,
        kind: ErrorKind::InvalidInput,
        text: "the message did not arrive as a whole",
    };
    pub(crate) const PANIC: Refusal = Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: ErrorKind::Internal,
        text: "this peer failed while it worked on the request",
    };

    /// An error of the service.
    pub(crate) fn of(error: &Error) -> Refusal {
        let status = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::WrongType => StatusCode::BAD_REQUEST,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Conflict | ErrorKind::AlreadyExists | ErrorKind::Pending => StatusCode::CONFLICT,
            ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Busy | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal { status, kind: error.kind(), text: "this peer refused the request" }
    }

    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(KIND, HeaderValue::from(self.kind.number()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

/// What a caller makes of an answer that is none.
///
/// Kinds that speak of the other process alone, its disk or its state, would mislead here: they become `Unreachable`.
pub(crate) fn understood(status: StatusCode, headers: &HeaderMap) -> Error {
    let number = headers.get(KIND).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let error = match number.map(ErrorKind::from_number) {
        Some(
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
        Some(_) => Error::new(ErrorKind::Unreachable, "the peer could not answer"),
        None => match status {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Error::new(ErrorKind::TooLarge, "something before the peer carries smaller messages alone")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Error::new(ErrorKind::Busy, "something before the peer wants fewer requests")
            }
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Error::new(ErrorKind::Unreachable, "a proxy answers there, but does not reach the peer")
            }
            _ => {
                let message = "something answers there that is no peer; look at host, port and path of the address";
                Error::new(ErrorKind::Unreachable, message)
            }
        },
    };
    error.with("status", status.as_u16())
}
