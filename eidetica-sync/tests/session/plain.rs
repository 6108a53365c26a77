//! Sessions over transports that prove keys by themselves.

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind, PublicKey};
use eidetica_sync::session::{Exchange, Offer, Outbound, Received, SessionLimits, Sessions, Step};

use super::kit::*;

fn caller(seed: u8) -> Caller {
    Caller::unknown().proven(identity(seed).device())
}

fn plain(seed: u8, peer: PublicKey) -> Outbound {
    Outbound::new(identity(seed), offer(), SessionLimits::default(), MAX, Some(peer), Some(peer)).unwrap()
}

#[test]
fn there_is_no_handshake_and_the_first_request_costs_nothing_more() {
    let server = Server::new(2, SessionLimits::default());
    let session = plain(1, server.key()).session(seconds(0)).unwrap().expect("at once");
    assert_eq!((session.peer(), session.agreed()), (server.key(), None));
    let (mut exchange, number, message) = sent(&session, b"hello");
    assert_eq!(message.len(), 1 + 8 + 2 + 29 + 4 + 1 + 5);
    let Received::Request(request) = server.receive_from(seconds(0), &caller(1), &message) else { panic!("a request") };
    assert_eq!(request.peer, identity(1).device());
    let answer = server.echo(seconds(0), request);
    exchange.answer(number, &answer, seconds(0)).unwrap();
    assert_eq!(exchange.step().unwrap(), Step::Done(Bytes::from_static(b"hello")));
    assert_eq!(session.agreed().unwrap().version, 1);
    let (_, _, message) = sent(&session, b"hello");
    assert_eq!(message.len(), 1 + 8 + 4 + 1 + 5);
}

#[test]
fn only_the_proven_caller_has_a_session() {
    let server = Server::new(2, SessionLimits::default());
    let session = plain(1, server.key()).session(seconds(0)).unwrap().unwrap();
    let (mut exchange, number, first) = sent(&session, b"x");
    assert!(server.refuses(&first), "over a transport that proves nothing");
    let (_, _, before) = sent(&session, b"x");
    exchange.answer(number, &server.answer(seconds(0), &caller(1), &first), seconds(0)).unwrap();
    // With an offer in front of it, from somebody else, and one without.
    let other = server.receive_from(seconds(0), &caller(3), &before);
    assert!(matches!(other, Received::Answer(answer) if answer == REFUSED));
    let (_, _, second) = sent(&session, b"x");
    assert_eq!(second.len(), 1 + 8 + 4 + 1 + 1);
    for other in [caller(3), Caller::unknown()] {
        let answer = server.receive_from(seconds(0), &other, &second);
        assert!(matches!(answer, Received::Answer(answer) if answer == REFUSED));
    }
    assert!(matches!(server.receive_from(seconds(0), &caller(1), &second), Received::Request(_)));
    // A sealed session of one device over a transport that has proven another.
    let sealed = established(1, &server);
    let (_, _, message) = sent(&sealed, b"x");
    assert!(matches!(server.receive_from(seconds(0), &caller(3), &message), Received::Answer(a) if a == REFUSED));
    let mut outbound = outbound(1, None);
    let session = shake(&mut outbound, &server, seconds(0), &caller(3)).unwrap();
    let (_, _, message) = sent(&session, b"x");
    let before = server.sessions.lock().unwrap().load().strangers;
    assert!(matches!(server.receive_from(seconds(0), &caller(3), &message), Received::Answer(a) if a == REFUSED));
    assert_eq!(server.sessions.lock().unwrap().load().strangers, before, "and it takes no place");
}

#[test]
fn the_proven_key_has_to_be_the_pinned_one() {
    let (proven, pinned) = (identity(2).device(), identity(3).device());
    let made = Outbound::new(identity(1), offer(), SessionLimits::default(), MAX, Some(proven), Some(pinned));
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(error.context("proven"), Some(proven.to_string().as_str()));
}

#[test]
fn no_common_version_is_said_and_the_request_not_looked_at() {
    let server = identity(2);
    let mut sessions = Sessions::new(server.clone(), Offer::versions(5, 6), SessionLimits::default());
    let session = plain(1, server.device()).session(seconds(0)).unwrap().unwrap();
    let mut exchange = Exchange::new(session, Bytes::from_static(b"x")).unwrap();
    let Step::Send(number, message) = exchange.step().unwrap() else { panic!("a message") };
    let received = sessions.receive(seconds(0), &caller(1), MAX, &message).unwrap();
    let Received::Answer(answer) = received else { panic!("not a request") };
    let error = exchange.answer(number, &answer, seconds(0)).unwrap_err();
    assert_eq!((error.kind(), error.context("theirs")), (ErrorKind::Unsupported, Some("5 to 6")));
}

#[test]
fn large_messages_go_in_the_same_parts() {
    let server = Server::new(2, SessionLimits::default());
    server.know(identity(1).device());
    let session = plain(1, server.key()).session(seconds(0)).unwrap().unwrap();
    let mut exchange = Exchange::new(session, pattern(400_000)).unwrap();
    let mut under_way = Vec::new();
    loop {
        match exchange.step().unwrap() {
            Step::Send(number, message) => under_way.push((number, message)),
            Step::Wait => {
                let (number, message) = under_way.pop().unwrap();
                let answer = server.answer(seconds(0), &caller(1), &message);
                assert!(message.len() <= MAX && answer.len() <= MAX);
                exchange.answer(number, &answer, seconds(0)).unwrap();
            }
            Step::Done(reply) => break assert!(reply == pattern(400_000)),
            Step::Renew => panic!("the session is there"),
        }
    }
}
