//! On a network where nothing goes wrong, the transport keeps the contract.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{
    Address, CallOptions, Caller, Channel, Error, ErrorKind, PublicKey, Result, Service, Transport,
};
use eidetica_sync::sim::{Network, SimTransport};
use tokio::time::Instant;

/// Does what the message says.
pub struct Obedient;

#[async_trait]
impl Service for Obedient {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        match &message[..] {
            b"panic" => panic!("as it was told"),
            b"fail" => Err(Error::new(ErrorKind::Full, "as it was told")),
            b"who" => Ok(format!("{:?} {:?}", caller.origin, caller.proven).into()),
            b"sleep" => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(message)
            }
            b"large" => Ok(vec![0; 2 << 20].into()),
            _ => Ok(message),
        }
    }
}

pub fn address(name: &str) -> Address {
    Address::new("sim", name)
}

pub fn soon() -> CallOptions {
    CallOptions::timeout(Duration::from_secs(1))
}

/// A network on which `far` listens.
pub async fn pair(seed: u64) -> (Network, SimTransport, SimTransport) {
    let network = Network::new(seed);
    let (near, far) = (network.transport("near"), network.transport("far"));
    far.listen(Arc::new(Obedient)).await.unwrap();
    (network, near, far)
}

pub async fn dial(near: &SimTransport) -> Box<dyn Channel> {
    near.dial(&address("far"), CallOptions::default()).await.unwrap()
}

fn kind(error: Error) -> ErrorKind {
    error.kind()
}

#[tokio::test(start_paused = true)]
async fn messages_go_there_and_back_and_take_their_time() {
    let (network, near, far) = pair(1).await;
    assert_eq!(far.addresses(), [address("far")]);
    assert!(near.addresses().is_empty());
    let channel = dial(&near).await;
    let begun = Instant::now();
    for len in [0, 1, 1 << 20] {
        let message = Bytes::from(vec![7; len]);
        assert_eq!(channel.request(message.clone(), soon()).await.unwrap(), message);
    }
    assert_eq!(begun.elapsed(), Duration::from_millis(60), "three round trips of 20 ms");
    assert_eq!(channel.request("who".into(), soon()).await.unwrap(), r#"Some("near") None"#);
    assert_eq!(channel.peer(), None);
    let there = network.traffic("near", "far");
    assert_eq!((there.messages, there.requests, there.arrived, there.lost), (4, 4, 4, 0));
    assert_eq!((there.bytes, there.arrived_bytes), ((1 << 20) + 4, (1 << 20) + 4));
    assert_eq!((network.total().messages, network.traffic("far", "near").requests), (8, 0));
}

#[tokio::test(start_paused = true)]
async fn it_proves_keys_if_it_is_told_to() {
    let network = Network::new(1);
    let [one, two, three] = [1, 2, 3].map(|byte| PublicKey::from_bytes([byte; 32]));
    let (near, far) = (network.transport("near").proves(one), network.transport("far").proves(two));
    assert!(near.info().proves_identity);
    far.listen(Arc::new(Obedient)).await.unwrap();
    let channel = dial(&near).await;
    assert_eq!(channel.peer(), Some(two));
    assert_eq!(channel.request("who".into(), soon()).await.unwrap(), format!("Some(\"near\") Some({one})"));
    far.close().await.unwrap();
    let other = network.transport("far").proves(three);
    other.listen(Arc::new(Obedient)).await.unwrap();
    assert_eq!(channel.request("x".into(), soon()).await.map_err(kind), Err(ErrorKind::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn errors_are_those_of_the_contract() {
    let (_network, near, far) = pair(1).await;
    let other = Address::http("localhost:1");
    assert_eq!(near.dial(&other, soon()).await.map(drop).map_err(kind), Err(ErrorKind::InvalidInput));
    assert_eq!(near.dial(&address("nobody"), soon()).await.map(drop).map_err(kind), Err(ErrorKind::Unreachable));
    let channel = dial(&near).await;
    let large = vec![0; (1 << 20) + 1];
    assert_eq!(channel.request(large.into(), soon()).await.map_err(kind), Err(ErrorKind::TooLarge));
    assert_eq!(channel.request("large".into(), soon()).await.map_err(kind), Err(ErrorKind::TooLarge));
    assert_eq!(channel.request("fail".into(), soon()).await.map_err(kind), Err(ErrorKind::Full));
    let begun = Instant::now();
    assert_eq!(channel.request("sleep".into(), soon()).await.map_err(kind), Err(ErrorKind::Timeout));
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    let endless = CallOptions::timeout(Duration::MAX);
    assert_eq!(channel.request("fine".into(), endless).await.unwrap(), "fine");
    assert_eq!(far.listen(Arc::new(Obedient)).await.map_err(kind), Err(ErrorKind::AlreadyExists));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once_and_free_again_after_stopping() {
    let network = Network::new(1);
    let (one, two) = (network.transport("name"), network.transport("name"));
    one.listen(Arc::new(Obedient)).await.unwrap();
    assert_eq!(two.listen(Arc::new(Obedient)).await.unwrap_err().kind(), ErrorKind::Locked);
    one.stop_listening(Duration::ZERO).await.unwrap();
    one.stop_listening(Duration::ZERO).await.unwrap();
    two.listen(Arc::new(Obedient)).await.unwrap();
    drop(two);
    one.listen(Arc::new(Obedient)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_request() {
    let (_network, near, _far) = pair(1).await;
    let channel = dial(&near).await;
    let sleeping = channel.request("sleep".into(), CallOptions::default());
    let other = async {
        assert_eq!(channel.request("panic".into(), soon()).await.map_err(kind), Err(ErrorKind::Unreachable));
        assert_eq!(channel.request("fine".into(), soon()).await.unwrap(), "fine");
    };
    let (slept, ()) = tokio::join!(sleeping, other);
    assert_eq!(slept.unwrap(), "sleep");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_grace_period_and_no_longer() {
    for (grace, answered) in [(20, true), (3, false)] {
        let (_network, near, far) = pair(1).await;
        let channel = dial(&near).await;
        let call = async {
            let answer = channel.request("sleep".into(), CallOptions::default()).await;
            assert_eq!(answer.map_err(kind).err(), (!answered).then_some(ErrorKind::Unreachable));
        };
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            far.stop_listening(Duration::from_secs(grace)).await.unwrap();
            assert!(begun.elapsed() <= Duration::from_millis(if answered { 9_100 } else { 3_100 }));
            assert_eq!(channel.request("late".into(), soon()).await.map_err(kind), Err(ErrorKind::Unreachable));
        };
        tokio::join!(call, stop);
        assert!(far.addresses().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn closing_ends_channels_and_everything_else() {
    let (_network, near, far) = pair(1).await;
    let channel = dial(&near).await;
    let call = async {
        let answer = channel.request("sleep".into(), CallOptions::default()).await;
        assert_eq!(answer.map_err(kind), Err(ErrorKind::Closed));
    };
    let close = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        near.close().await.unwrap();
        near.close().await.unwrap();
    };
    tokio::join!(call, close);
    assert_eq!(channel.request("x".into(), soon()).await.map_err(kind), Err(ErrorKind::Closed));
    assert_eq!(near.dial(&address("far"), soon()).await.map(drop).map_err(kind), Err(ErrorKind::Closed));
    assert_eq!(near.listen(Arc::new(Obedient)).await.map_err(kind), Err(ErrorKind::Closed));
    far.close().await.unwrap();
}
