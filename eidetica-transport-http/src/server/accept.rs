//! A socket of our own: bound, its connections taken and watched over.
//!
//! Not `axum::serve`, which knows neither a deadline for heads nor a bound on connections.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use eidetica_contract::{Error, ErrorKind, Result};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower_service::Service as _;

use super::clock::{Clock, Phase, Watched};
use super::crowd::{Admitted, Crowd};
use super::gate::{Gate, Serving, until};
use crate::{BUFFER, HEADERS};

/// The pause after a failure to accept, for example when files run out.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let (kind, message) = match error.kind() {
            io::ErrorKind::AddrInUse => (ErrorKind::Locked, "something else listens on this port already"),
            io::ErrorKind::PermissionDenied => {
                (ErrorKind::PermissionDenied, "this process may not listen there; ports below 1024 often need a right")
            }
            io::ErrorKind::AddrNotAvailable => (ErrorKind::InvalidInput, "this machine does not have that address"),
            _ => (ErrorKind::Io, "cannot listen there"),
        };
        Error::new(kind, message).with("bind", address).caused_by(error)
    })
}

/// Serves until a deadline is set, and then until it has passed or nothing is under way. On return the port is free.
pub(crate) async fn serve(
    listener: TcpListener,
    gate: Arc<Gate>,
    serving: Arc<Serving>,
    mut stop: watch::Receiver<Option<Instant>>,
) {
    let router = gate.router();
    let crowd = Crowd::new(&serving.limits);
    let (stopping, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = asked(&mut stop) => break,
            // Those that have ended are let go of at once.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let clock = Arc::new(Clock::new(serving.limits.clone()));
                    let Some(admitted) = crowd.admit(from.ip(), &clock) else { continue };
                    let number = admitted.number();
                    let connection = Connection { stream, from, clock, admitted: Arc::new(admitted) };
                    crowd.serves(number, connections.spawn(connection.run(router.clone(), stopping.subscribe())));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    gate.shut(&serving);
    stopping.send_replace(true);
    serving.drain(&mut stop).await;
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = until(&mut stop) => {}
    }
    connections.shutdown().await;
}

/// Ends when a deadline is set.
async fn asked(stop: &mut watch::Receiver<Option<Instant>>) {
    let _ = stop.wait_for(Option::is_some).await;
}

struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    clock: Arc<Clock>,
    admitted: Arc<Admitted>,
}

impl Connection {
    /// Serves one connection until it ends, takes too long, or is told to stop.
    async fn run(self, router: Router, mut stopping: watch::Receiver<bool>) {
        // An answer is one small write: waiting for more to send with it costs 40 ms.
        let _ = self.stream.set_nodelay(true);
        let Connection { stream, from, clock, admitted } = self;
        let service = service_fn(|request: hyper::Request<Incoming>| {
            clock.begins();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(from));
            request.extensions_mut().insert(admitted.clone());
            let answering = router.clone().call(request);
            let clock = clock.clone();
            async move {
                let answered = answering.await;
                clock.answered();
                answered
            }
        });
        let io = TokioIo::new(Watched { stream, clock: clock.clone() });
        // The clock has deadlines for heads and for silence; hyper would want a timer, and count both as one.
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(BUFFER).max_headers(HEADERS).half_close(false);
        let mut served = pin!(http.serve_connection(io, service));
        let late = tokio::select! {
            _ = served.as_mut() => return,
            () = clock.passed() => true,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        };
        if late || matches!(clock.phase(), Phase::Silent | Phase::Head) {
            return;
        }
        served.as_mut().graceful_shutdown();
        tokio::select! {
            _ = served => {}
            () = clock.passed() => {}
        }
    }
}
