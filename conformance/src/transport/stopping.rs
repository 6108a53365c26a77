//! The end.

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{CallOptions, ErrorKind};
use tokio::time::Instant;

use super::{Ground, Obedient, dial, kind, soon, until};
use crate::Case;
use crate::case::case;

pub(super) const CASES: &[Case] = &[
    case!(Transport, must "transport.stopping.nothing-comes-any-more",
        "On return no further request reaches the service, and a port that was open for listening alone is free.",
        nothing_comes_any_more),
    case!(Transport, must "transport.stopping.waits-for-what-is-under-way",
        "Stops accepting, waits at most `grace` for requests under way, then drops them.", waits_for_what_is_under_way),
    case!(Transport, must "transport.stopping.waits-no-longer",
        "Returns at most one second after the grace period.", waits_no_longer),
    case!(Transport, must "transport.stopping.without-listening-is-fine",
        "Succeeds at once if it does not listen.", without_listening),
    case!(Transport, must "transport.stopping.listens-again",
        "Afterwards it may listen again.", listens_again),
    case!(Transport, must "transport.stopping.closing-ends-channels",
        "Stops listening without grace, closes all channels and ends all tasks. From then on dialling, listening and requests answer [`ErrorKind::Closed`](crate::ErrorKind::Closed), those that were under way, too.",
        closing_ends_channels),
    case!(Transport, must "transport.stopping.closing-twice-is-fine", "Calling it again does nothing.", closing_twice),
];

async fn nothing_comes_any_more(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    channel.request("there".into(), soon()).await.expect("an answer");
    server.transport.stop_listening(Duration::from_secs(1)).await.expect("it stops");
    let options = || CallOptions::timeout(Duration::from_secs(2));
    channel.request("gone".into(), options()).await.expect_err("nobody answers on the old channel");
    if let Ok(channel) = client.dial(&server.address, options()).await {
        channel.request("gone".into(), options()).await.expect_err("nobody answers on a new channel");
    }
    assert_eq!(server.service.seen(), 1, "a request reached the service after the end");
}

async fn waits_for_what_is_under_way(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    // Long enough that it is under way still when the stop begins, on a busy machine, too.
    let call = channel.request("wait 3000".into(), soon());
    let stop = async {
        until("the request is under way", || server.service.working() == 1).await;
        server.transport.stop_listening(Duration::from_secs(15)).await.expect("it stops");
    };
    let (answer, ()) = tokio::join!(call, stop);
    assert_eq!(answer.expect("what was under way is answered"), "wait 3000");
}

async fn waits_no_longer(ground: Ground) {
    for grace in [Duration::ZERO, Duration::from_millis(300)] {
        let (server, client) = (ground.server().await, ground.client().await);
        let channel = dial(&*client, &server.address).await;
        let call = channel.request("wait 60000".into(), soon());
        let stop = async {
            until("the request is under way", || server.service.working() == 1).await;
            let begun = Instant::now();
            server.transport.stop_listening(grace).await.expect("it stops");
            let took = begun.elapsed();
            // What a busy machine adds is not the transport's.
            assert!(took <= grace + Duration::from_secs(3), "it took {took:?}, with a grace of {grace:?}");
            until("what was under way is dropped", || server.service.working() == 0).await;
        };
        let (answer, ()) = tokio::join!(call, stop);
        answer.expect_err("the work was dropped");
    }
}

async fn without_listening(ground: Ground) {
    let transport = ground.silent().await;
    transport.stop_listening(Duration::from_secs(60)).await.expect("there is nothing to stop");
    ground.client().await.stop_listening(Duration::from_secs(60)).await.expect("there is nothing to stop");
    let server = ground.server().await;
    for _ in 0..3 {
        server.transport.stop_listening(Duration::from_secs(1)).await.expect("it stops");
    }
}

async fn listens_again(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    for n in 0..3 {
        server.transport.stop_listening(Duration::from_secs(1)).await.expect("it stops");
        let service = Arc::new(Obedient::default());
        server.transport.listen(service.clone()).await.expect("it listens again");
        let address = server.transport.addresses().remove(0);
        // Whoever dials may have a connection of before, and not have heard yet that it is gone.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) && service.seen() == 0 {
            let soon = CallOptions::timeout(Duration::from_secs(1));
            if let Ok(channel) = client.dial(&address, soon).await {
                let _ = channel.request("there".into(), soon).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((service.seen(), server.service.seen()), (1, 0), "in round {n} it does not answer, or as before");
    }
}

async fn closing_ends_channels(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let call = channel.request("wait 60000".into(), soon());
    let close = async {
        until("the request is under way", || server.service.working() == 1).await;
        client.close().await.expect("it closes");
    };
    let (answer, ()) = tokio::join!(call, close);
    assert_eq!(kind(answer), Some(ErrorKind::Closed), "a request was under way when its transport was closed");
    let late = channel.request("late".into(), CallOptions::timeout(Duration::from_secs(2))).await;
    assert_eq!(kind(late), Some(ErrorKind::Closed), "a channel of a transport that was closed");
    let dialled = client.dial(&server.address, soon()).await.map(drop);
    assert_eq!(kind(dialled), Some(ErrorKind::Closed), "a transport that was closed dials");
    assert_eq!(server.service.seen(), 1);
}

async fn closing_twice(ground: Ground) {
    let server = ground.server().await;
    let client = ground.client().await;
    for _ in 0..3 {
        server.transport.close().await.expect("it closes");
        client.close().await.expect("it closes");
    }
    assert!(server.transport.addresses().is_empty());
}
