//! One request and its answer.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use eidetica_contract::{CallOptions, Channel, Error, ErrorKind, PublicKey, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::closed;
use super::line::Line;
use crate::MESSAGE_TYPE;
use crate::deadline::after;
use crate::endpoint::Target;
use crate::refusal::understood;

/// A refusal with more text than this, in bytes, ends its connection.
const REFUSAL: u64 = 4096;

/// A way to one peer, over connections that are shared with other channels to the same one.
pub(crate) struct HttpChannel {
    target: Target,
    line: Arc<Line>,
    max_message: usize,
    closed: watch::Receiver<bool>,
}

impl HttpChannel {
    pub(crate) fn new(
        target: Target,
        line: Arc<Line>,
        max_message: usize,
        closed: watch::Receiver<bool>,
    ) -> HttpChannel {
        HttpChannel { target, line, max_message, closed }
    }

    /// Makes sure that somebody accepts connections there.
    pub(crate) async fn warm(&self, options: CallOptions) -> Result<()> {
        self.within(options, self.line.warm()).await
    }

    /// Runs a call until its deadline, or until the transport is closed.
    async fn within<T>(&self, options: CallOptions, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut end = self.closed.clone();
        let late = |_| {
            // What swallowed this may have swallowed part of what the others carried.
            self.line.close_waiting();
            Error::new(ErrorKind::Timeout, "no answer in time").with("address", &self.line.endpoint)
        };
        tokio::select! {
            biased;
            _ = end.wait_for(|closed| *closed) => Err(closed()),
            called = timeout_at(after(options.timeout), call) => called.map_err(late)?,
        }
    }

    async fn call(&self, message: Bytes) -> Result<Bytes> {
        let _place = self.line.place().await.ok_or_else(closed)?;
        let mut request = self.post(message)?;
        loop {
            let (connection, used) = self.line.take().await?;
            let (connection, response) = match connection.send(request).await {
                Ok(answered) => answered,
                Err(mut failed) => match failed.take_message() {
                    // The other side had closed it while it was idle. Nothing of the request was handed to it, so this is no
                    // repetition; and it ends, since it happens once for each idle connection at most.
                    Some(unsent) if used => {
                        request = unsent;
                        continue;
                    }
                    _ => return Err(self.lost(failed.into_error())),
                },
            };
            let answer = self.read(response).await?;
            if let Some(connection) = connection {
                self.line.give_back(connection);
            }
            return answer;
        }
    }

    fn post(&self, message: Bytes) -> Result<Request<Full<Bytes>>> {
        let host = HeaderValue::from_str(&self.target.authority);
        let host = host.map_err(|error| Error::new(ErrorKind::InvalidInput, "not a host").caused_by(error))?;
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.clone();
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE_TYPE));
        Ok(request)
    }

    /// The answer, which may be a refusal. After an error outside of it the connection is of no more use.
    async fn read(&self, response: Response<Incoming>) -> Result<Result<Bytes>> {
        let (head, mut body) = response.into_parts();
        let typed = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == MESSAGE_TYPE.as_bytes());
        if head.status != StatusCode::OK || !typed {
            let refused = understood(head.status, &head.headers).with("address", &self.line.endpoint);
            if body.size_hint().exact().is_none_or(|len| len > REFUSAL) {
                return Err(refused);
            }
            // Read to its end, so that being refused costs no connection.
            while let Some(Ok(_)) = body.frame().await {}
            return Ok(Err(refused));
        }
        let announced = body.size_hint().exact();
        if announced.is_some_and(|len| len > self.max_message as u64) {
            return Err(self.too_large());
        }
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| self.lost(error))?.into_data() else { continue };
            let len = read.len() + data.len();
            if len > self.max_message {
                return Err(self.too_large());
            }
            if read.is_empty() && announced == Some(len as u64) {
                return Ok(Ok(data));
            }
            if read.is_empty() {
                read.reserve(announced.map_or(len, |announced| announced as usize));
            }
            read.extend_from_slice(&data);
        }
        if announced.is_some_and(|len| len != read.len() as u64) {
            return Err(self.lost("the answer has ended early"));
        }
        Ok(Ok(read.freeze()))
    }

    fn lost(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let message = "the connection to the peer was lost; it may have seen the request";
        Error::new(ErrorKind::Unreachable, message).with("address", &self.line.endpoint).caused_by(error)
    }

    fn too_large(&self) -> Error {
        let message = "the answer is larger than the transport carries";
        Error::new(ErrorKind::TooLarge, message).with("limit", self.max_message)
    }
}

#[async_trait]
impl Channel for HttpChannel {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        if message.len() > self.max_message {
            let error = Error::new(ErrorKind::TooLarge, "the message is larger than the transport carries");
            return Err(error.with("bytes", message.len()).with("limit", self.max_message));
        }
        self.within(options, self.call(message)).await
    }

    fn peer(&self) -> Option<PublicKey> {
        None
    }
}
