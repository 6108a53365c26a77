//! One request: read, handed to the service, answered.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind, Result};
use iroh::endpoint::{RecvStream, SendStream};
use tokio::time::timeout;

use super::gate::Serving;
use super::shares::Place;
use crate::SMALL;
use crate::codes::{ABANDONED, of};
use crate::frame::{Sending, Unread, length, rest};

/// Why a request gets no answer.
enum Ended {
    /// Its caller hears this.
    Refused(ErrorKind),
    /// Nobody waits for it.
    Gone,
}

pub(crate) async fn answer(
    serving: Arc<Serving>,
    caller: Caller,
    owner: Arc<str>,
    send: SendStream,
    mut receive: RecvStream,
) {
    let mut send = Sending::new(send);
    let code = match work(&serving, caller, &owner, &mut send, &mut receive).await {
        Ok(()) => return,
        Err(Ended::Refused(kind)) => of(kind),
        Err(Ended::Gone) => ABANDONED,
    };
    let _ = receive.stop(code);
    send.reset(code);
}

async fn work(
    serving: &Serving,
    caller: Caller,
    owner: &Arc<str>,
    send: &mut Sending,
    receive: &mut RecvStream,
) -> Result<(), Ended> {
    // What was sent before the handshake ended may be a repetition by somebody else.
    if receive.is_0rtt() {
        return Err(Ended::Refused(ErrorKind::Unauthenticated));
    }
    let (_under_way, place) = serving.enter(owner).map_err(Ended::Refused)?;
    let reading = timeout(serving.limits.request_timeout, read(serving, owner, receive));
    let (message, large) = reading.await.map_err(|_| Ended::Refused(ErrorKind::Timeout))??;
    // What ends first: the work, or the wish for it.
    let answer = tokio::select! {
        biased;
        _ = send.read_or_gone() => return Err(Ended::Gone),
        answered = unless_it_panics(serving.service.handle(caller, message)) => answered?,
    };
    if answer.len() > serving.limits.max_message {
        return Err(Ended::Refused(ErrorKind::TooLarge));
    }
    // Waits until it was read: a connection that ends takes along what is still on its way.
    let sending = async {
        send.send(answer).await.map_err(|_| Ended::Gone)?;
        drop((place, large));
        send.read_or_gone().await;
        Ok(())
    };
    timeout(serving.limits.answer_timeout, sending).await.map_err(|_| Ended::Gone)?
}

/// Reads a message. A large one waits for a place.
async fn read(serving: &Serving, owner: &Arc<str>, receive: &mut RecvStream) -> Result<(Bytes, Option<Place>), Ended> {
    let refused = |unread| match unread {
        Unread::TooLarge => Ended::Refused(ErrorKind::TooLarge),
        Unread::Broken => Ended::Refused(ErrorKind::InvalidInput),
        Unread::Lost(_) => Ended::Gone,
    };
    let len = length(receive, serving.limits.max_message).await.map_err(refused)?;
    let mut place = None;
    if len > SMALL {
        place = Some(serving.large.wait(owner).await.ok_or(Ended::Refused(ErrorKind::Busy))?);
    }
    Ok((rest(receive, len).await.map_err(refused)?, place))
}

/// A service that panics costs the one request.
async fn unless_it_panics(work: impl Future<Output = Result<Bytes>>) -> Result<Bytes, Ended> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(answer))) => Poll::Ready(Ok(answer)),
        Ok(Poll::Ready(Err(error))) => {
            tracing::debug!(%error, "the service has refused a request");
            Poll::Ready(Err(Ended::Refused(error.kind())))
        }
        Err(_) => {
            tracing::error!("the service has panicked over a request");
            Poll::Ready(Err(Ended::Refused(ErrorKind::Internal)))
        }
    })
    .await
}
