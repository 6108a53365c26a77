//! The calling side over a transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Address, CallOptions, Caller, Channel, ErrorKind, PublicKey, Result, Service, Transport};
use eidetica_sync::session::{CloseReason, Received, SessionChannel, SessionLimits, Sessions};
use eidetica_sync::transport::MemoryNetwork;

use super::kit::*;

/// Echoes, after as many milliseconds as the first byte says.
#[async_trait]
impl Service for Server {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        match self.receive_from(seconds(0), &caller, &message) {
            Received::Answer(answer) => Ok(answer),
            Received::Request(request) => {
                let pause = u64::from(request.payload.first().copied().unwrap_or(0));
                tokio::time::sleep(Duration::from_millis(pause)).await;
                Ok(self.echo(seconds(0), request))
            }
        }
    }
}

/// Counts what goes over a channel, and may answer in the other side's place.
struct Counting {
    inner: Box<dyn Channel>,
    sent: AtomicUsize,
    refuse: AtomicUsize,
}

#[async_trait]
impl Channel for Counting {
    async fn request(&self, message: Bytes, options: CallOptions) -> Result<Bytes> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let frame = message.first().is_some_and(|kind| matches!(kind, 3 | 4));
        let fewer = |left: usize| left.checked_sub(1);
        if frame && self.refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return Ok(Bytes::from_static(REFUSED));
        }
        self.inner.request(message, options).await
    }

    fn peer(&self) -> Option<PublicKey> {
        self.inner.peer()
    }
}

struct Net {
    server: Server,
    channel: Arc<Counting>,
    session: SessionChannel,
    _transports: [Box<dyn Transport>; 2],
}

async fn net(proven: bool) -> Net {
    let server = Server::new(2, SessionLimits::default());
    server.know(identity(1).device());
    let network = MemoryNetwork::new();
    let (mut near, mut far) = (network.transport("near").max_message(MAX), network.transport("far").max_message(MAX));
    if proven {
        (near, far) = (near.proves(identity(1).device()), far.proves(server.key()));
    }
    far.listen(Arc::new(server.clone())).await.unwrap();
    let inner = near.dial(&Address::new("memory", "far"), CallOptions::default()).await.unwrap();
    let channel = Arc::new(Counting { inner, sent: AtomicUsize::new(0), refuse: AtomicUsize::new(0) });
    let (pin, limits) = (Some(server.key()), SessionLimits::default());
    let session = SessionChannel::new(channel.clone(), MAX, identity(1), offer(), limits, pin).unwrap();
    Net { server, channel, session, _transports: [Box::new(near), Box::new(far)] }
}

impl Net {
    fn sent(&self) -> usize {
        self.channel.sent.swap(0, Ordering::Relaxed)
    }

    async fn echo(&self, payload: &'static [u8]) -> Result<Bytes> {
        self.session.request(Bytes::from_static(payload), CallOptions::default()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_session_costs_one_round_trip_more_and_then_nothing() {
    let net = net(false).await;
    assert_eq!(net.echo(b"\0one").await.unwrap(), b"\0one"[..]);
    assert_eq!(net.sent(), 2);
    assert_eq!(net.echo(b"\0two").await.unwrap(), b"\0two"[..]);
    assert_eq!(net.sent(), 1);
    assert_eq!(net.session.peer(), Some(net.server.key()));
}

#[tokio::test(start_paused = true)]
async fn over_a_transport_that_proves_keys_nothing_is_sealed() {
    let net = net(true).await;
    let (peer, agreed) = net.session.connect(CallOptions::default()).await.unwrap();
    assert_eq!((peer, agreed.version), (net.server.key(), 1));
    assert_eq!(net.sent(), 1);
    assert_eq!(net.echo(b"\0two").await.unwrap(), b"\0two"[..]);
    assert_eq!(net.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_at_once_share_one_handshake_and_answers_overtake_each_other() {
    let net = net(false).await;
    let order = std::sync::Mutex::new(Vec::new());
    let calls = (0..100u8).rev().map(|pause| {
        let (net, order) = (&net, &order);
        async move {
            let payload = Bytes::from(vec![pause; 10]);
            assert_eq!(net.session.request(payload.clone(), CallOptions::default()).await.unwrap(), payload);
            order.lock().unwrap().push(pause);
        }
    });
    join_all(calls).await;
    assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(net.sent(), 101);
    assert_eq!(net.server.sessions.lock().unwrap().load().known, 1);
}

/// Runs futures side by side in this task.
async fn join_all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_has_forgotten_everything_costs_one_new_handshake() {
    let net = net(false).await;
    net.echo(b"\0one").await.unwrap();
    net.sent();
    *net.server.sessions.lock().unwrap() =
        Sessions::new(net.server.identity.clone(), offer(), SessionLimits::default());
    net.server.know(identity(1).device());
    let calls = (0..64).map(|_| async { assert_eq!(net.echo(b"\0two").await.unwrap(), b"\0two"[..]) });
    join_all(calls).await;
    assert_eq!(net.sent(), 64 + 1 + 64, "each is refused once, and they share the handshake");
    net.server.sessions.lock().unwrap().close_all(CloseReason::Renew);
    assert_eq!(net.echo(b"\0three").await.unwrap(), b"\0three"[..]);
    assert_eq!(net.sent(), 3);
}

#[tokio::test(start_paused = true)]
async fn refusals_lead_to_one_more_try_and_never_to_a_loop() {
    let net = net(false).await;
    net.echo(b"\0one").await.unwrap();
    net.sent();
    net.channel.refuse.store(1, Ordering::Relaxed);
    assert_eq!(net.echo(b"\0two").await.unwrap(), b"\0two"[..]);
    assert_eq!(net.sent(), 3);
    net.channel.refuse.store(1000, Ordering::Relaxed);
    assert_eq!(net.echo(b"\0three").await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(net.sent(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_for_everything_together() {
    let net = net(false).await;
    let begun = tokio::time::Instant::now();
    let options = CallOptions::timeout(Duration::from_millis(100));
    let error = net.session.request(vec![200; 4].into(), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(begun.elapsed(), Duration::from_millis(100));
    assert_eq!(net.echo(b"\0two").await.unwrap(), b"\0two"[..]);
    let error = net.session.request(Bytes::new(), CallOptions::timeout(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_leaves_the_session_usable() {
    let net = net(false).await;
    // In the middle of the handshake.
    let dropped = tokio::time::timeout(Duration::ZERO, net.echo(b"\0one")).await;
    let _ = dropped;
    assert_eq!(net.echo(b"\0two").await.unwrap(), b"\0two"[..]);
    // In the middle of parts.
    let payload = Bytes::from([vec![50], vec![7; 400_000]].concat());
    let large = net.session.request(payload.clone(), CallOptions::default());
    assert!(tokio::time::timeout(Duration::from_millis(10), large).await.is_err());
    assert_eq!(net.session.request(payload.clone(), CallOptions::default()).await.unwrap(), payload);
    net.session.close(CloseReason::Done, CallOptions::default()).await.unwrap();
    assert_eq!(net.server.sessions.lock().unwrap().load().known, 0);
    assert_eq!(net.echo(b"\0three").await.unwrap(), b"\0three"[..]);
}

/// A first request that waits for long does not hold up those behind it.
#[tokio::test(start_paused = true)]
async fn a_long_first_request_is_overtaken() {
    let net = net(false).await;
    let begun = tokio::time::Instant::now();
    let slow = async { assert!(net.session.request(vec![250; 4].into(), CallOptions::default()).await.is_ok()) };
    let quick = async {
        net.echo(b"\x05quick").await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(20));
    };
    tokio::join!(slow, quick);
}
