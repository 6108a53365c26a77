//! The contract of transports, case by case.

mod dialling;
mod exchange;
mod limits;
mod listening;
mod stopping;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport,
};
use eidetica_core::SecretKey;
use tokio::time::{Instant, sleep};

use crate::run::Seen;
use crate::subject::build;
use crate::{Case, TransportSubject};

pub(crate) const CASES: &[&[Case]] =
    &[exchange::CASES, limits::CASES, dialling::CASES, listening::CASES, stopping::CASES];

/// What a case works on.
pub(crate) struct Ground {
    pub(crate) subject: Arc<dyn TransportSubject>,
    seed: u64,
    seen: Seen,
    /// How many devices there are that listen: each is another one.
    devices: AtomicU8,
}

impl Ground {
    pub(crate) fn new(subject: Arc<dyn TransportSubject>, seed: u64, seen: Seen) -> Ground {
        Ground { subject, seed, seen, devices: AtomicU8::new(0) }
    }

    /// Notes that something has happened without which the case shows nothing.
    pub(crate) fn saw(&self, witness: &'static str) {
        self.seen.note(witness);
    }

    /// The device of this name: the same in every run with this seed.
    pub(crate) fn device(&self, name: u8) -> SecretKey {
        let mut seed = [name; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        SecretKey::from_seed(&seed)
    }

    /// A transport that can listen, and does not yet.
    pub(crate) async fn silent(&self) -> Box<dyn Transport> {
        self.of(&self.device(self.devices.fetch_add(1, Ordering::SeqCst))).await
    }

    async fn of(&self, device: &SecretKey) -> Box<dyn Transport> {
        let builder = self.subject.listening().expect("a builder of a transport that listens");
        build(builder, device).await.expect("the transport is built")
    }

    /// A transport that listens, and what answers.
    pub(crate) async fn server(&self) -> Server {
        let device = self.device(self.devices.fetch_add(1, Ordering::SeqCst));
        let transport = self.of(&device).await;
        let service = Arc::new(Obedient::default());
        transport.listen(service.clone()).await.expect("it listens");
        let address = transport.addresses().into_iter().next().expect("what listens has an address");
        Server { transport, service, address, device: device.public() }
    }

    /// A transport that dials.
    pub(crate) async fn client(&self) -> Box<dyn Transport> {
        let builder = self.subject.dialling().expect("a builder of a transport that dials");
        build(builder, &self.device(b'c')).await.expect("the transport is built")
    }

    pub(crate) fn client_device(&self) -> PublicKey {
        self.device(b'c').public()
    }
}

pub(crate) struct Server {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) service: Arc<Obedient>,
    pub(crate) address: Address,
    pub(crate) device: PublicKey,
}

pub(crate) async fn dial(client: &dyn Transport, address: &Address) -> Arc<dyn Channel> {
    client.dial(address, soon()).await.expect("the address is reached").into()
}

/// Longer than anything here takes, and short enough for a case.
pub(crate) fn soon() -> CallOptions {
    CallOptions::timeout(Duration::from_secs(20))
}

pub(crate) fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Does what the first word of a message says, and counts.
#[derive(Default)]
pub(crate) struct Obedient {
    seen: AtomicUsize,
    working: AtomicUsize,
}

/// Counts one call as under way, until it ends in whatever way.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Service for Obedient {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        self.seen.fetch_add(1, Ordering::SeqCst);
        self.working.fetch_add(1, Ordering::SeqCst);
        let _working = Working(&self.working);
        let mut words = message.splitn(2, |byte| *byte == b' ');
        let (word, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let number = || std::str::from_utf8(rest).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        match word {
            b"panic" => panic!("as it was told"),
            b"fail" => Err(Error::new(ErrorKind::Full, "as it was told")),
            b"who" => Ok(caller.proven.map_or_else(|| "nobody".to_owned(), |key| key.to_string()).into()),
            // So many milliseconds; the answer is the message.
            b"wait" => {
                sleep(Duration::from_millis(number())).await;
                Ok(message)
            }
            // So many bytes.
            b"send" => Ok(pattern(number() as usize)),
            _ => Ok(message),
        }
    }
}

impl Obedient {
    /// How many requests have come.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// How many are under way.
    pub(crate) fn working(&self) -> usize {
        self.working.load(Ordering::SeqCst)
    }
}

/// Bytes that differ from place to place, NUL among them.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Waits until something is so. Panics if it is not soon.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
