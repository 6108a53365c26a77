//! Messages larger than the transport carries.

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind};
use eidetica_sync::session::{Exchange, Received, SessionLimits, Step};

use super::kit::*;

fn known() -> (Server, std::sync::Arc<eidetica_sync::session::Session>) {
    let server = Server::new(2, SessionLimits::default());
    server.know(identity(1).device());
    let session = established(1, &server);
    (server, session)
}

#[test]
fn every_length_around_the_borders_arrives() {
    let (server, session) = known();
    for len in [0, 1, 8191, 65_000, 65_250, 65_280, 65_290, 65_300, 65_310, 65_320, 65_536, 130_600, 1 << 20] {
        let reply = complete(&session, &server, seconds(0), pattern(len)).unwrap();
        assert!(reply == pattern(len), "{len} bytes");
    }
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 0);
}

#[test]
fn the_largest_message_passes_and_one_byte_more_does_not() {
    let mut limits = SessionLimits::default();
    limits.max_whole = 2 << 20;
    let server = Server::new(2, limits);
    server.know(identity(1).device());
    let session = established(1, &server);
    let reply = complete(&session, &server, seconds(0), pattern(2 << 20)).unwrap();
    assert!(reply == pattern(2 << 20));
    let error = complete(&session, &server, seconds(0), pattern((2 << 20) + 1)).unwrap_err();
    assert_eq!((error.kind(), error.context("limit")), (ErrorKind::TooLarge, Some("2097152")));
    // A reply that the caller would not take is not kept for it.
    let (mut exchange, number, message) = sent(&session, b"x");
    let Received::Request(request) = server.receive(&message) else { panic!("a request") };
    let large = vec![0; SessionLimits::default().max_whole + 1];
    let answer = server.sessions.lock().unwrap().reply(seconds(0), request.token, large.into()).seal();
    assert_eq!(exchange.answer(number, &answer, seconds(0)).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 0);
}

#[test]
fn strangers_send_less() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let limit = SessionLimits::default().stranger_whole;
    assert!(complete(&session, &server, seconds(0), pattern(limit)).is_ok());
    let error = complete(&session, &server, seconds(0), pattern(limit + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 0);
}

/// The first part goes alone, so it also arrives first; the others may come in any order.
#[test]
fn parts_may_overtake_each_other() {
    let (server, session) = known();
    let payload = pattern(900_000);
    let mut exchange = Exchange::new(session, payload.clone()).unwrap();
    let mut under_way: Vec<(u32, Bytes)> = Vec::new();
    let mut most = 0;
    loop {
        match exchange.step().unwrap() {
            Step::Send(number, message) => under_way.push((number, message)),
            Step::Wait => {
                most = most.max(under_way.len());
                let (number, message) = under_way.pop().unwrap();
                let answer = server.answer(seconds(0), &Caller::unknown(), &message);
                exchange.answer(number, &answer, seconds(0)).unwrap();
            }
            Step::Done(reply) => break assert!(reply == payload),
            Step::Renew => panic!("the session is there"),
        }
    }
    assert_eq!(most, 4, "parts under way at once");
}

#[test]
fn a_part_that_is_lost_leaves_a_message_that_is_forgotten_by_age() {
    let (server, session) = known();
    let mut exchange = Exchange::new(session.clone(), pattern(200_000)).unwrap();
    let Step::Send(number, first) = exchange.step().unwrap() else { panic!("the first part") };
    assert_eq!(exchange.step().unwrap(), Step::Wait, "the first part goes alone");
    let answer = server.answer(seconds(0), &Caller::unknown(), &first);
    exchange.answer(number, &answer, seconds(0)).unwrap();
    let mut rest = Vec::new();
    while let Step::Send(number, message) = exchange.step().unwrap() {
        rest.push((number, message));
    }
    assert_eq!(rest.len(), 3);
    // The second is lost. The others are stored and lead to nothing, and the same frame twice is a replay.
    for (_, message) in &rest[1..] {
        server.answer(seconds(0), &Caller::unknown(), message);
        assert!(server.refuses(message));
    }
    let held = |now| {
        // Any message makes the table look at the time.
        server.answer(now, &Caller::unknown(), &Bytes::new());
        server.sessions.lock().unwrap().load().held_bytes
    };
    assert_eq!(held(seconds(30)), 200_000);
    assert_eq!(held(seconds(61)), 0);
    // What comes after that belongs to nothing.
    let (number, late) = rest.remove(0);
    let answer = server.answer(seconds(62), &Caller::unknown(), &late);
    assert_eq!(exchange.answer(number, &answer, seconds(62)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(run(&session, &server, b"still fine"), b"still fine"[..]);
}

#[test]
fn a_reply_nobody_fetches_is_forgotten_and_one_that_is_fetched_leaves_nothing() {
    let (server, session) = known();
    let large = |session: &_| {
        let (exchange, number, message) = sent(session, b"send much");
        let received = server.receive(&message);
        let Received::Request(request) = received else { panic!("a request") };
        let answer = server.sessions.lock().unwrap().reply(seconds(0), request.token, pattern(300_000)).seal();
        (exchange, number, answer)
    };
    let (mut exchange, number, answer) = large(&session);
    exchange.answer(number, &answer, seconds(0)).unwrap();
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 300_000);
    let mut fetches = Vec::new();
    while let Step::Send(number, message) = exchange.step().unwrap() {
        fetches.push((number, message));
    }
    // In the wrong order, and the answers in another one.
    fetches.reverse();
    let mut answers: Vec<_> = fetches
        .iter()
        .map(|(number, message)| (*number, server.answer(seconds(0), &Caller::unknown(), message)))
        .collect();
    answers.rotate_left(1);
    answers.iter().for_each(|(number, answer)| exchange.answer(*number, answer, seconds(0)).unwrap());
    assert_eq!(exchange.step().unwrap(), Step::Done(pattern(300_000)));
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 0);

    let _ = large(&session);
    server.answer(seconds(61), &Caller::unknown(), &Bytes::new());
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 0);
}

#[test]
fn memory_for_parts_is_bounded() {
    let mut limits = SessionLimits::default();
    (limits.session_bytes, limits.all_bytes, limits.partial) = (500_000, 800_000, 3);
    let server = Server::new(2, limits);
    [1, 3].iter().for_each(|seed| server.know(identity(*seed).device()));
    let (one, two) = (established(1, &server), established(3, &server));
    let begin = |session: &std::sync::Arc<eidetica_sync::session::Session>, len| {
        let mut exchange = Exchange::new(session.clone(), pattern(len)).unwrap();
        let Step::Send(number, first) = exchange.step().unwrap() else { panic!("the first part") };
        let answer = server.answer(seconds(0), &Caller::unknown(), &first);
        exchange.answer(number, &answer, seconds(0)).map_err(|error| error.kind())
    };
    assert_eq!(begin(&one, 300_000), Ok(()));
    assert_eq!(begin(&one, 300_000), Err(ErrorKind::Busy), "one session holds 500,000 at most");
    assert_eq!(begin(&two, 400_000), Ok(()));
    assert_eq!(begin(&one, 150_000), Err(ErrorKind::Busy), "all sessions hold 800,000 at most");
    assert_eq!(begin(&one, 70_000), Ok(()));
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 770_000);
    assert_eq!(run(&one, &server, b"small ones pass"), b"small ones pass"[..]);
}
