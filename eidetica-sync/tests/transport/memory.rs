//! The transport in memory keeps the contract.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{Address, CallOptions, Caller, Error, ErrorKind, PublicKey, Result, Service, Transport};
use eidetica_sync::transport::{MemoryNetwork, MemoryTransport};
use tokio::time::Instant;

/// Does what the message says.
struct Obedient;

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

fn address(name: &str) -> Address {
    Address::new("memory", name)
}

fn soon() -> CallOptions {
    CallOptions::timeout(Duration::from_secs(1))
}

async fn pair() -> (MemoryTransport, MemoryTransport) {
    let network = MemoryNetwork::new();
    let (near, far) = (network.transport("near"), network.transport("far"));
    far.listen(Arc::new(Obedient)).await.unwrap();
    (near, far)
}

#[tokio::test(start_paused = true)]
async fn messages_go_there_and_back_and_the_caller_has_an_origin() {
    let (near, far) = pair().await;
    assert_eq!(far.addresses(), [address("far")]);
    assert!(near.addresses().is_empty());
    let channel = near.dial(&address("far"), soon()).await.unwrap();
    for len in [0, 1, 1 << 20] {
        let message = Bytes::from(vec![7; len]);
        assert_eq!(channel.request(message.clone(), soon()).await.unwrap(), message);
    }
    assert_eq!(channel.request("who".into(), soon()).await.unwrap(), r#"Some("near") None"#);
    assert_eq!(channel.peer(), None);
}

#[tokio::test(start_paused = true)]
async fn it_proves_keys_if_it_is_told_to() {
    let network = MemoryNetwork::new();
    let [one, two] = [1, 2].map(|byte| PublicKey::from_bytes([byte; 32]));
    let (near, far) = (network.transport("near").proves(one), network.transport("far").proves(two));
    assert!(near.info().proves_identity);
    far.listen(Arc::new(Obedient)).await.unwrap();
    let channel = near.dial(&address("far"), soon()).await.unwrap();
    assert_eq!(channel.peer(), Some(two));
    assert_eq!(channel.request("who".into(), soon()).await.unwrap(), format!("Some(\"near\") Some({one})"));
}

#[tokio::test(start_paused = true)]
async fn errors_are_those_of_the_contract() {
    let (near, far) = pair().await;
    let kind = |error: Error| error.kind();
    let other = Address::http("localhost:1");
    assert_eq!(near.dial(&other, soon()).await.map(drop).map_err(kind), Err(ErrorKind::InvalidInput));
    assert_eq!(near.dial(&address("nobody"), soon()).await.map(drop).map_err(kind), Err(ErrorKind::Unreachable));
    let channel = near.dial(&address("far"), soon()).await.unwrap();
    let large = vec![0; (1 << 20) + 1];
    assert_eq!(channel.request(large.into(), soon()).await.map_err(kind), Err(ErrorKind::TooLarge));
    assert_eq!(channel.request("large".into(), soon()).await.map_err(kind), Err(ErrorKind::TooLarge));
    assert_eq!(channel.request("fail".into(), soon()).await.map_err(kind), Err(ErrorKind::Full));
    let begun = Instant::now();
    assert_eq!(channel.request("sleep".into(), soon()).await.map_err(kind), Err(ErrorKind::Timeout));
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
    assert_eq!(far.listen(Arc::new(Obedient)).await.map_err(kind), Err(ErrorKind::AlreadyExists));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once_and_free_again_after_stopping() {
    let network = MemoryNetwork::new();
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
    let (near, _far) = pair().await;
    let channel = near.dial(&address("far"), soon()).await.unwrap();
    let sleeping = channel.request("sleep".into(), CallOptions::default());
    let other = async {
        let error = channel.request("panic".into(), soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert_eq!(channel.request("fine".into(), soon()).await.unwrap(), "fine");
    };
    let (slept, ()) = tokio::join!(sleeping, other);
    assert_eq!(slept.unwrap(), "sleep");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_grace_period_and_no_longer() {
    for (grace, answered) in [(20, true), (3, false)] {
        let (near, far) = pair().await;
        let channel = near.dial(&address("far"), soon()).await.unwrap();
        let begun = Instant::now();
        let call = async {
            let answer = channel.request("sleep".into(), CallOptions::default()).await;
            assert_eq!(answer.is_ok(), answered, "{answer:?}");
        };
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.stop_listening(Duration::from_secs(grace)).await.unwrap();
            let error = channel.request("late".into(), soon()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unreachable);
        };
        tokio::join!(call, stop);
        assert_eq!(begun.elapsed(), Duration::from_secs(if answered { 10 } else { 4 }));
        assert!(far.addresses().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn closing_ends_channels_and_everything_else() {
    let (near, far) = pair().await;
    let channel = near.dial(&address("far"), soon()).await.unwrap();
    let call = async {
        let error = channel.request("sleep".into(), CallOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    };
    let close = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        near.close().await.unwrap();
        near.close().await.unwrap();
    };
    tokio::join!(call, close);
    assert_eq!(near.dial(&address("far"), soon()).await.map(drop).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(near.listen(Arc::new(Obedient)).await.unwrap_err().kind(), ErrorKind::Closed);
    far.close().await.unwrap();
}

/// A service learns that its caller has gone by being dropped.
#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_takes_the_work_along() {
    struct Waits(Arc<tokio::sync::Semaphore>);
    #[async_trait]
    impl Service for Waits {
        async fn handle(&self, _: Caller, message: Bytes) -> Result<Bytes> {
            let _place = self.0.acquire().await;
            tokio::time::sleep(Duration::from_secs(1000)).await;
            Ok(message)
        }
    }
    let places = Arc::new(tokio::sync::Semaphore::new(1));
    let network = MemoryNetwork::new();
    let (near, far) = (network.transport("near"), network.transport("far"));
    far.listen(Arc::new(Waits(places.clone()))).await.unwrap();
    let channel = near.dial(&address("far"), soon()).await.unwrap();
    assert!(channel.request("x".into(), soon()).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(places.available_permits(), 1);
}
