//! Being reached.

use std::sync::Arc;

use eidetica_contract::ErrorKind;

use super::{Ground, Obedient, dial, kind, soon};
use crate::Case;
use crate::case::case;
use crate::subject::build;

pub(super) const CASES: &[Case] = &[
    case!(Transport, must "transport.listening.has-addresses-then",
        "The addresses under which peers can reach this process now: empty unless it listens.", has_addresses_then),
    case!(Transport, must "transport.listening.every-address-leads-here",
        "When it returns, the address is bound and [`addresses`](Transport::addresses) names it.", every_address),
    case!(Transport, must "transport.listening.once",
        "While it listens already: [`ErrorKind::AlreadyExists`]", once),
    case!(Transport, must "transport.listening.an-address-in-use-is-locked",
        "an address in use: [`ErrorKind::Locked`].", an_address_in_use, need OnePlace),
    case!(Transport, must "transport.listening.dialling-alone-does-not",
        "a transport built for dialling only: [`ErrorKind::Unsupported`]", dialling_alone),
    case!(Transport, must "transport.listening.two-are-apart",
        "Accepts requests and hands them to the service.", two_are_apart),
];

async fn has_addresses_then(ground: Ground) {
    let transport = ground.silent().await;
    assert!(transport.addresses().is_empty(), "it does not listen yet");
    transport.listen(Arc::new(Obedient::default())).await.expect("it listens");
    assert!(!transport.addresses().is_empty(), "it listens, and has no address");
    transport.stop_listening(std::time::Duration::ZERO).await.expect("it stops");
    assert!(transport.addresses().is_empty(), "it listens no longer");
    assert!(ground.client().await.addresses().is_empty(), "it never listens");
}

async fn every_address(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    for address in server.transport.addresses() {
        let channel = dial(&*client, &address).await;
        assert_eq!(channel.request("there".into(), soon()).await.expect("an answer"), "there", "{address}");
    }
    assert_eq!(server.service.seen(), server.transport.addresses().len());
}

async fn once(ground: Ground) {
    let (server, client) = (ground.server().await, ground.client().await);
    let late = Arc::new(Obedient::default());
    assert_eq!(kind(server.transport.listen(late.clone()).await), Some(ErrorKind::AlreadyExists));
    let channel = dial(&*client, &server.address).await;
    channel.request("to the first".into(), soon()).await.expect("an answer");
    assert_eq!((server.service.seen(), late.seen()), (1, 0), "the second service has taken over");
}

async fn an_address_in_use(ground: Ground) {
    let [one, other] = ground.subject.one_place().expect("two builders").expect("both listen at one place");
    let one = build(one, &ground.device(210)).await.expect("the transport is built");
    let other = build(other, &ground.device(211)).await.expect("the transport is built");
    let (first, late) = (Arc::new(Obedient::default()), Arc::new(Obedient::default()));
    one.listen(first.clone()).await.expect("it listens");
    assert_eq!(
        kind(other.listen(late.clone()).await),
        Some(ErrorKind::Locked),
        "a second one listens at the same place"
    );
    assert!(other.addresses().is_empty(), "what does not listen has an address");
    let client = ground.client().await;
    let channel = dial(&*client, &one.addresses()[0]).await;
    channel.request("to the first".into(), soon()).await.expect("an answer");
    assert_eq!((first.seen(), late.seen()), (1, 0));
    // It was not worn out by trying.
    one.close().await.expect("it closes");
    other.listen(late).await.expect("it listens where nobody does any more");
}

async fn dialling_alone(ground: Ground) {
    let client = ground.client().await;
    assert_eq!(kind(client.listen(Arc::new(Obedient::default())).await), Some(ErrorKind::Unsupported));
    assert!(client.addresses().is_empty());
}

async fn two_are_apart(ground: Ground) {
    let (one, two, client) = (ground.server().await, ground.server().await, ground.client().await);
    assert_ne!(one.address, two.address);
    let (first, second) = (dial(&*client, &one.address).await, dial(&*client, &two.address).await);
    first.request("to the first".into(), soon()).await.expect("an answer");
    assert_eq!((one.service.seen(), two.service.seen()), (1, 0), "a request went to another one");
    one.transport.close().await.expect("it closes");
    assert_eq!(second.request("to the second".into(), soon()).await.expect("an answer"), "to the second");
}
