//! A proxy on loopback that stands between two peers and treats their connections badly, for tests of transports over TCP.
//!
//! ```no_run
//! # async fn example() -> eidetica_contract::Result<()> {
//! use std::time::Duration;
//!
//! use eidetica_conformance::proxy::{Proxy, Treatment};
//!
//! // The server listens on port 4000, and tells everybody to call the proxy.
//! let proxy = Proxy::before(([127, 0, 0, 1], 4000).into(), 7).await?;
//! let called = proxy.address("mine");
//! proxy.treat(Treatment::Delay(Duration::from_millis(50)));
//! // What passes between both now is late.
//! proxy.treat(Treatment::Cut(20_000));
//! # let _ = called;
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eidetica_contract::{Address, Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Dice;

/// What is done to what passes. All connections are treated alike, and from the moment at which it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Everything passes.
    Pass,
    /// Each piece waits so long before it goes on.
    Delay(Duration),
    /// So many bytes each second and direction.
    Throttle(u64),
    /// A connection is cut in both directions after some of these bytes: half of them to all of them.
    Cut(u64),
    /// After some of these bytes one direction ends, and the other stays open and silent.
    HalfClose(u64),
    /// One byte of about so many is another one.
    Corrupt(u64),
    /// Connections are taken, and nothing passes.
    Swallow,
}

/// A proxy before one server. Dropping it cuts everything.
pub struct Proxy {
    address: SocketAddr,
    treatment: watch::Sender<Treatment>,
    passed: Arc<AtomicU64>,
    hurt: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

/// What every direction of every connection knows.
#[derive(Clone)]
struct Rules {
    treatment: watch::Receiver<Treatment>,
    dice: Arc<Mutex<Dice>>,
    passed: Arc<AtomicU64>,
    hurt: Arc<AtomicU64>,
}

impl Proxy {
    /// A proxy before what listens on this socket, now or later. What it decides at random derives from the seed.
    ///
    /// Errors: `Io` if no socket can be had. Must be called within a tokio runtime.
    pub async fn before(target: SocketAddr, seed: u64) -> Result<Proxy> {
        Proxy::at(([127, 0, 0, 1], 0).into(), target, seed).await
    }

    /// One that listens here.
    ///
    /// Errors: as for [`before`](Proxy::before).
    pub async fn at(socket: SocketAddr, target: SocketAddr, seed: u64) -> Result<Proxy> {
        let failed = |error| Error::new(ErrorKind::Io, "no socket for a proxy").caused_by(error);
        let listener = TcpListener::bind(socket).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (treatment, treatments) = watch::channel(Treatment::Pass);
        let (passed, hurt) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let dice = Arc::new(Mutex::new(Dice::new(seed)));
        let rules = Rules { treatment: treatments, dice, passed: passed.clone(), hurt: hurt.clone() };
        let accepting = tokio::spawn(async move {
            // Ends all connections when it is dropped.
            let mut connections = JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    // Too many files, say: it may go away.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let rules = rules.clone();
                connections.spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    connect(near, far, rules).await;
                });
            }
        });
        Ok(Proxy { address, treatment, passed, hurt, accepting })
    }

    /// What others call, and what the server tells them to call, as an address of this scheme.
    pub fn address(&self, scheme: &str) -> Address {
        Address::new(scheme, self.address.to_string())
    }

    /// Does this to what passes from now on.
    pub fn treat(&self, treatment: Treatment) {
        self.treatment.send_replace(treatment);
    }

    /// The bytes that have passed so far, in both directions.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// How often something was cut, closed, changed or swallowed.
    pub fn hurt(&self) -> u64 {
        self.hurt.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(near: TcpStream, far: TcpStream, rules: Rules) {
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let there = carry(near_in, far_out, rules.clone());
    let back = carry(far_in, near_out, rules);
    tokio::pin!(there, back);
    // An end of one direction is an end of both, unless it was a half-close.
    let halves = tokio::select! {
        end = &mut there => (end, false),
        end = &mut back => (end, true),
    };
    match halves {
        (End::Both, _) => {}
        (End::Half(_kept), false) => drop(back.await),
        (End::Half(_kept), true) => drop(there.await),
    }
}

/// How a direction ends.
enum End {
    Both,
    /// The writing side was shut down; the reading one is kept open until the other direction ends.
    Half(OwnedReadHalf),
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut rules: Rules) -> End {
    let mut left = None;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            // What was counted so far was counted for another treatment.
            changed = rules.treatment.changed() => match changed {
                Ok(()) => { left = None; continue }
                Err(_) => return End::Both,
            },
        };
        let piece = match read {
            Ok(0) => return if to.shutdown().await.is_ok() { End::Half(from) } else { End::Both },
            Ok(length) => &mut buffer[..length],
            Err(_) => return End::Both,
        };
        let treatment = *rules.treatment.borrow_and_update();
        match treatment {
            Treatment::Pass => {}
            Treatment::Delay(delay) => tokio::time::sleep(delay).await,
            Treatment::Throttle(rate) => {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
            }
            Treatment::Cut(bytes) | Treatment::HalfClose(bytes) => {
                let left = left.get_or_insert_with(|| bytes / 2 + rules.dice(bytes / 2 + 1));
                if *left < piece.len() as u64 {
                    let _ = to.write_all(&piece[..*left as usize]).await;
                    rules.hurt.fetch_add(1, Ordering::Relaxed);
                    if let Treatment::Cut(_) = treatment {
                        return End::Both;
                    }
                    let _ = to.shutdown().await;
                    return End::Half(from);
                }
                *left -= piece.len() as u64;
            }
            Treatment::Corrupt(every) => {
                if rules.dice(every) < piece.len() as u64 {
                    let at = rules.dice(piece.len() as u64) as usize;
                    piece[at] ^= 1 << rules.dice(8);
                    rules.hurt.fetch_add(1, Ordering::Relaxed);
                }
            }
            Treatment::Swallow => {
                rules.hurt.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        rules.passed.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if to.write_all(piece).await.is_err() {
            return End::Both;
        }
    }
}

impl Rules {
    /// A number below the end, from the seed.
    fn dice(&self, end: u64) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(end)
    }
}
