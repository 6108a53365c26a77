//! The address over restarts, where any port will do.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, Error, ErrorKind, Result, Transport, TransportBuilder, TransportContext, TransportState,
};
use eidetica_transport_iroh::{IrohTransport, IrohTransportBuilder, RelayMode};

use super::kit::*;

/// What a store keeps for a transport.
#[derive(Default)]
struct Memory {
    state: Mutex<Option<Bytes>>,
    full: AtomicBool,
}

#[async_trait]
impl TransportState for Memory {
    async fn load(&self) -> Result<Option<Bytes>> {
        Ok(self.state.lock().unwrap().clone())
    }

    async fn save(&self, state: Bytes) -> Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Full, "no room"));
        }
        *self.state.lock().unwrap() = Some(state);
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        let state = self.state.lock().unwrap().clone();
        String::from_utf8(state.unwrap_or_default().to_vec()).unwrap()
    }
}

async fn build(builder: IrohTransportBuilder, seed: [u8; 32], state: &Arc<Memory>) -> Box<dyn Transport> {
    let context = TransportContext::new(device(&seed), state.clone()).with_secret(seed);
    Box::new(builder).build(context).await.unwrap()
}

/// Listens, and ends; says where that was.
async fn run(builder: IrohTransportBuilder, seed: [u8; 32], state: &Arc<Memory>) -> Address {
    let transport = build(builder, seed, state).await;
    transport.listen(Arc::new(Obedient::default())).await.unwrap();
    let address = transport.addresses().remove(0);
    let client = client();
    let channel = dial_with(&client, &address).await;
    assert_eq!(channel.request("x".into(), soon()).await.unwrap(), "x");
    transport.close().await.unwrap();
    address
}

fn everywhere() -> IrohTransportBuilder {
    IrohTransport::builder().relay_mode(RelayMode::Disabled)
}

#[tokio::test]
async fn the_address_stays_the_same() {
    for builder in [builder, everywhere] {
        let (seed, state) = (seed(), Arc::default());
        let first = run(builder(), seed, &state).await;
        for _ in 0..3 {
            assert_eq!(run(builder(), seed, &state).await, first);
        }
        // Whoever keeps nothing gets another port, or this test would prove nothing.
        assert_ne!(run(builder(), seed, &Arc::default()).await, first);
    }
}

/// The ports that a device had, taken from it. `None` if another test has got one of them since: where iroh had IPv6 alone, a
/// socket of both kinds also meets whoever has that number on IPv4.
fn take(state: &Memory) -> Option<Vec<UdpSocket>> {
    let taken: std::io::Result<Vec<_>> = state.text().lines().map(UdpSocket::bind).collect();
    match taken {
        Ok(taken) => Some(taken),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_replaced_for_good() {
    for builder in [builder, everywhere] {
        let mut tries = 0;
        let (seed, state, first, taken) = loop {
            let (seed, state) = (seed(), Arc::default());
            let first = run(builder(), seed, &state).await;
            if let Some(taken) = take(&state) {
                break (seed, state, first, taken);
            }
            tries += 1;
            assert!(tries < 10, "the ports of a device are not free after its end");
        };
        assert!(!taken.is_empty());
        let second = run(builder(), seed, &state).await;
        assert_ne!(second, first);
        drop(taken);
        assert_eq!(run(builder(), seed, &state).await, second);
    }
}

#[tokio::test]
async fn a_port_that_was_wished_is_not_replaced() {
    let (seed, state) = (seed(), Arc::default());
    run(builder(), seed, &state).await;
    let wished = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = wished.local_addr().unwrap();
    let fixed = || everywhere().bind(address.to_string());
    let transport = build(fixed(), seed, &state).await;
    assert_eq!(kind(transport.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::Locked));
    drop(wished);
    let found = run(fixed(), seed, &state).await;
    assert_eq!(read(&found).ip_addrs().copied().collect::<Vec<_>>(), [address]);
}

/// It could take the port from the process that listens with the same store.
#[tokio::test]
async fn who_dials_alone_has_any_port_and_keeps_none() {
    let (seed, state) = (seed(), Arc::default());
    let first = run(builder(), seed, &state).await;
    let kept = state.text();
    let server = server().await;
    let dialling = build(builder().dial_only(), seed, &state).await;
    let _channel = dialling.dial(&server.address, soon()).await.unwrap();
    assert_eq!(run(builder(), seed, &state).await, first);
    assert_eq!(state.text(), kept);
}

#[tokio::test]
async fn what_was_kept_and_cannot_be_used_harms_nothing() {
    for bytes in [&b"\xff\xfe"[..], b"nonsense\n\n127.0.0.1\n", b"127.0.0.1:0\n", b"127.0.0.1:1\n", b"0.0.0.0:99999"] {
        let state = Arc::new(Memory::default());
        *state.state.lock().unwrap() = Some(Bytes::from_static(bytes));
        let seed = seed();
        let first = run(builder(), seed, &state).await;
        assert_eq!(run(builder(), seed, &state).await, first, "{bytes:?}");
    }
    // A store that takes nothing.
    let state = Arc::new(Memory::default());
    state.full.store(true, Ordering::SeqCst);
    run(builder(), seed(), &state).await;
    assert_eq!(state.text(), "");
}
