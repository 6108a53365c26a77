//! The way to a peer, and who is there.

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Address, CallOptions, ErrorKind};
use tokio::time::Instant;

use super::{Ground, Obedient, dial, kind, soon};
use crate::Case;
use crate::case::case;
use crate::subject::{build, context};

pub(super) const CASES: &[Case] = &[
    case!(Transport, must "transport.dialling.other-schemes-are-refused",
        "[`ErrorKind::InvalidInput`] for an address of another scheme or one that cannot be read", other_schemes),
    case!(Transport, must "transport.dialling.nobody-there-is-told",
        "[`ErrorKind::Unreachable`]; [`ErrorKind::Timeout`] at the deadline of the options", nobody_there),
    case!(Transport, must "transport.dialling.knows-who-is-there",
        "True if [`Channel::peer`] and [`Caller::proven`] name device keys that the transport itself has proven.",
        knows_who_is_there, need ProvesIdentity),
    case!(Transport, must "transport.dialling.believes-no-claim",
        "True if [`Channel::peer`] and [`Caller::proven`] name device keys that the transport itself has proven.",
        believes_no_claim, need ProvesIdentity),
    case!(Transport, must "transport.dialling.claims-to-know-nobody",
        "The device key that the transport itself has proven for the other side, if it proves any.",
        claims_to_know_nobody, unless ProvesIdentity),
    case!(Transport, must "transport.dialling.the-key-of-an-address-counts",
        "[`ErrorKind::Unauthenticated`] if the address names a key and the peer proved another.",
        the_key_of_an_address_counts, need ProvesIdentity + OnePlace),
    case!(Transport, must "transport.dialling.comes-back-after-a-restart",
        "`Unreachable` when the connection is lost", comes_back),
];

async fn other_schemes(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let scheme = client.info().scheme;
    assert_eq!(server.address.transport_type, scheme, "its addresses have another scheme than it dials");
    for wrong in [format!("{scheme}x"), "nosuchscheme".to_owned(), String::new()] {
        let address = Address::new(wrong.clone(), server.address.address.clone());
        assert_eq!(kind(client.dial(&address, soon()).await.map(drop)), Some(ErrorKind::InvalidInput), "{wrong:?}");
    }
    assert_eq!(server.service.seen(), 0);
}

async fn nobody_there(ground: Ground) {
    let nowhere = ground.subject.nowhere().await.expect("an address at which nobody listens");
    let client = ground.client().await;
    let begun = Instant::now();
    let options = || CallOptions::timeout(Duration::from_secs(2));
    // It connects when it dials, or with the first request.
    let found = match client.dial(&nowhere, options()).await {
        Ok(channel) => kind(channel.request("anybody".into(), options()).await),
        Err(error) => Some(error.kind()),
    };
    assert!(matches!(found, Some(ErrorKind::Unreachable | ErrorKind::Timeout)), "{found:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "it was told after {:?}", begun.elapsed());
}

async fn knows_who_is_there(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    let said = channel.request("who".into(), soon()).await.expect("an answer");
    assert_eq!(said, ground.client_device().to_string(), "the service is told of another caller");
    assert_eq!(channel.peer(), Some(server.device), "the caller is told of another peer");
}

/// Somebody says that it is a device whose secret key it does not have.
async fn believes_no_claim(ground: Ground) {
    let (claimed, liar) = (ground.device(200), ground.device(201));
    let (server, client) = (ground.server().await, ground.client().await);
    let builder = ground.subject.dialling().expect("a builder of a transport");
    if let Ok(lying) = builder.build(context(claimed.public(), Some(&liar))).await {
        let channel = dial(&*lying, &server.address).await;
        let said = channel.request("who".into(), soon()).await.expect("an answer");
        assert_ne!(said, claimed.public().to_string(), "the service is told of a key that was only claimed");
    }
    let builder = ground.subject.listening().expect("a builder of a transport");
    if let Ok(lying) = builder.build(context(claimed.public(), Some(&liar))).await {
        lying.listen(Arc::new(Obedient::default())).await.expect("it listens");
        for address in lying.addresses() {
            let Ok(channel) = client.dial(&address, soon()).await else { continue };
            assert_ne!(channel.peer(), Some(claimed.public()), "the caller is told of a key that was only claimed");
        }
    }
}

async fn claims_to_know_nobody(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let channel = dial(&*client, &server.address).await;
    assert_eq!(channel.request("who".into(), soon()).await.expect("an answer"), "nobody");
    assert_eq!(channel.peer(), None);
}

/// Where one device was, another one listens.
async fn the_key_of_an_address_counts(ground: Ground) {
    let places = ground.subject.one_place().expect("two builders").expect("both listen at one place");
    let (was, is) = (ground.device(210), ground.device(211));
    let mut listening = Vec::new();
    for (builder, device) in places.into_iter().zip([&was, &is]) {
        let transport = build(builder, device).await.expect("the transport is built");
        let service = Arc::new(Obedient::default());
        transport.listen(service.clone()).await.expect("it listens");
        let address = transport.addresses().into_iter().next().expect("what listens has an address");
        if listening.is_empty() {
            transport.close().await.expect("it closes");
        }
        listening.push((transport, service, address));
    }
    let (old, new) = (&listening[0].2, &listening[1]);
    let client = ground.client().await;
    let found = match client.dial(old, soon()).await {
        Ok(channel) => channel.request("who".into(), soon()).await.map(|_| channel.peer()),
        Err(error) => Err(error),
    };
    if *old == new.2 {
        // Addresses name no keys here, and so it is told who is there.
        assert_eq!(found.expect("somebody answers"), Some(is.public()));
    } else {
        assert_eq!(kind(found), Some(ErrorKind::Unauthenticated), "another device answers at the address of one");
        assert_eq!(new.1.seen(), 0, "something was said to another device");
    }
    let channel = dial(&*client, &new.2).await;
    channel.request("who".into(), soon()).await.expect("at its own address it answers");
    assert_eq!(channel.peer(), Some(is.public()));
}

async fn comes_back(ground: Ground) {
    let client = ground.client().await;
    for _ in 0..3 {
        let server = ground.server().await;
        let channel = dial(&*client, &server.address).await;
        channel.request("there".into(), soon()).await.expect("an answer");
        server.transport.close().await.expect("it closes");
        let options = CallOptions::timeout(Duration::from_secs(3));
        let found = kind(channel.request("gone".into(), options).await);
        assert!(matches!(found, Some(ErrorKind::Unreachable | ErrorKind::Timeout)), "{found:?}");
        if let Ok(channel) = client.dial(&server.address, options).await {
            channel.request("gone".into(), options).await.expect_err("nobody is there");
        }
        assert_eq!(server.service.seen(), 1);
    }
}
