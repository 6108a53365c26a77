//! One request: read, handed to the service, answered.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::{Bytes, BytesMut};
use eidetica_contract::{Caller, PublicKey, Result};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::crowd::Admitted;
use super::gate::{Gate, Serving};
use super::large::Place;
use crate::MESSAGE_TYPE;
use crate::refusal::Refusal;

/// A message up to this size needs no place among the large ones: 64 KiB.
const SMALL: usize = 64 << 10;
/// How long a message that is too large is read away, so that its sender hears why and not that the connection broke.
const POLITE: Duration = Duration::from_secs(1);

pub(crate) async fn answer(gate: Arc<Gate>, request: Request) -> Response<Body> {
    attempt(&gate, request).await.unwrap_or_else(Refusal::response)
}

async fn attempt(gate: &Gate, request: Request) -> Result<Response<Body>, Refusal> {
    let entered = gate.enter()?;
    let serving = &*entered.serving;
    // What ends first: the work, or its time.
    tokio::select! {
        biased;
        () = serving.is_cut() => Err(Refusal::NOBODY),
        answered = work(serving, request) => answered,
    }
}

async fn work(serving: &Serving, request: Request) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let typed = head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == MESSAGE_TYPE.as_bytes());
    if !typed || head.headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::TYPE);
    }
    let origin = match &serving.origin_header {
        Some(header) => said_origin(header, &head.headers),
        None => head.extensions.get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip().to_canonical()),
    };
    // Not there if the connection is that of a foreign server.
    let connection = head.extensions.get::<Arc<Admitted>>().cloned();
    let peer = connection.as_ref().and_then(|connection| connection.peer());
    let reading = read(serving, peer, origin, &head.headers, body);
    let (message, _place) = timeout(serving.limits.body_timeout, reading).await.map_err(|_| Refusal::SLOW)??;
    let mut caller = Caller::unknown();
    if let Some(origin) = origin {
        caller = caller.origin(origin.to_string());
    }
    if let Some(connection) = connection {
        connection.received();
        // Work that goes on without its caller keeps no place.
        let connection = Arc::downgrade(&connection);
        caller = caller.hears(move |peer| {
            connection.upgrade().inspect(|connection| connection.belongs_to(peer));
        });
    }
    let answer = unless_it_panics(serving.service.handle(caller, message)).await?;
    let mut response = Response::new(Body::from(answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE_TYPE));
    Ok(response)
}

/// Where a caller comes from, as a proxy says. It adds what it has seen behind what the caller has said.
fn said_origin(header: &HeaderName, headers: &HeaderMap) -> Option<IpAddr> {
    let said = headers.get_all(header).iter().next_back()?.to_str().ok()?;
    let last = said.rsplit(',').next()?.trim();
    let ip = last.parse().or_else(|_| last.parse::<SocketAddr>().map(|socket| socket.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

/// Reads a message. What is not there yet costs nothing, whatever its sender has announced.
async fn read(
    serving: &Serving,
    peer: Option<PublicKey>,
    origin: Option<IpAddr>,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<(Bytes, Option<Place>), Refusal> {
    let limit = serving.limits.max_message;
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let announced: Option<usize> = announced;
    if announced.is_some_and(|len| len > limit) {
        // Who waits to be asked for the body has nothing under way.
        if announced.is_some_and(|len| len <= limit.saturating_mul(4)) && !headers.contains_key(EXPECT) {
            let _ = timeout(POLITE, async { while let Some(Ok(_)) = body.frame().await {} }).await;
        }
        return Err(Refusal::TOO_LARGE);
    }
    let (mut read, mut place) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::BROKEN)?.into_data() else { continue };
        let len = read.len() + data.len();
        if len > limit {
            return Err(Refusal::TOO_LARGE);
        }
        if read.is_empty() && announced == Some(len) && len <= SMALL {
            return Ok((data, None));
        }
        if len > SMALL && place.is_none() {
            place = Some(serving.large.place(peer, origin).await.ok_or(Refusal::BUSY)?);
            read.reserve(announced.unwrap_or(len).max(len) - read.len());
        }
        read.extend_from_slice(&data);
    }
    Ok((read.freeze(), place))
}

/// A service that panics costs the one request.
async fn unless_it_panics(work: impl Future<Output = Result<Bytes>>) -> Result<Bytes, Refusal> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(answer))) => Poll::Ready(Ok(answer)),
        Ok(Poll::Ready(Err(error))) => {
            tracing::debug!(%error, "the service has refused a request");
            Poll::Ready(Err(Refusal::of(&error)))
        }
        Err(_) => {
            tracing::error!("the service has panicked over a request");
            Poll::Ready(Err(Refusal::PANIC))
        }
    })
    .await
}
