//! What somebody on the way may try with the frames of an established session.

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind};
use eidetica_sync::session::{REPLAY_WINDOW, Received, SessionLimits, Step};

use super::kit::*;

#[test]
fn a_replayed_frame_is_refused() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let (_, _, message) = sent(&session, b"once");
    assert!(matches!(server.receive(&message), Received::Request(_)));
    for _ in 0..3 {
        assert!(server.refuses(&message));
    }
    assert_eq!(run(&session, &server, b"still fine"), b"still fine"[..]);
}

#[test]
fn a_frame_with_any_byte_changed_is_refused_and_costs_the_session_nothing() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let (mut exchange, number, message) = sent(&session, b"payload");
    for at in 0..message.len() {
        for bit in 0..8 {
            let mut changed = message.to_vec();
            changed[at] ^= 1 << bit;
            assert!(server.refuses(&changed.into()), "bit {bit} of byte {at}");
        }
    }
    for len in 0..message.len() {
        assert!(server.refuses(&message.slice(..len)), "{len} bytes of it");
    }
    let longer = [&message[..], &[0]].concat();
    assert!(server.refuses(&longer.into()));
    let answer = server.answer(seconds(0), &Caller::unknown(), &message);
    exchange.answer(number, &answer, seconds(0)).unwrap();
    assert_eq!(exchange.step().unwrap(), Step::Done(Bytes::from_static(b"payload")));
}

#[test]
fn an_answer_with_any_byte_changed_is_not_believed() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let length = {
        let (_, _, message) = sent(&session, b"payload");
        server.answer(seconds(0), &Caller::unknown(), &message).len()
    };
    for at in 0..length {
        let (mut exchange, number, message) = sent(&session, b"payload");
        let answer = server.answer(seconds(0), &Caller::unknown(), &message);
        let mut changed = answer.to_vec();
        changed[at] ^= 1;
        let error = exchange.answer(number, &changed.into(), seconds(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "byte {at}");
    }
    for len in 0..length {
        let (mut exchange, number, message) = sent(&session, b"payload");
        let answer = server.answer(seconds(0), &Caller::unknown(), &message);
        assert!(exchange.answer(number, &answer.slice(..len), seconds(0)).is_err(), "{len} bytes of it");
    }
    assert_eq!(run(&session, &server, b"still fine"), b"still fine"[..]);
}

#[test]
fn frames_thrown_back_to_their_author_are_refused() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let (mut exchange, number, message) = sent(&session, b"to and fro");
    let error = exchange.answer(number, &message, seconds(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    // Dressed as an answer: the same counter and ciphertext behind the first byte of answers.
    let (mut exchange, number, message) = sent(&session, b"to and fro");
    let dressed = [&[5], &message[9..]].concat();
    let error = exchange.answer(number, &dressed.into(), seconds(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    // And an answer dressed as a request.
    let (_, _, message) = sent(&session, b"to and fro");
    let answer = server.answer(seconds(0), &Caller::unknown(), &message);
    assert!(server.refuses(&answer));
    let (_, _, next) = sent(&session, b"to and fro");
    let dressed = [&next[..9], &answer[1..]].concat();
    assert!(server.refuses(&dressed.into()));
}

#[test]
fn an_answer_to_another_request_is_not_believed() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let (mut one, one_number, one_message) = sent(&session, b"one");
    let (mut two, two_number, two_message) = sent(&session, b"two");
    let one_answer = server.answer(seconds(0), &Caller::unknown(), &one_message);
    let two_answer = server.answer(seconds(0), &Caller::unknown(), &two_message);
    let error = one.answer(one_number, &two_answer, seconds(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.context("answered").is_some(), "{error}");
    assert!(two.answer(two_number, &one_answer, seconds(0)).is_err());
    // An old answer again.
    let (mut three, number, message) = sent(&session, b"three");
    let answer = server.answer(seconds(0), &Caller::unknown(), &message);
    assert!(three.answer(number, &one_answer, seconds(0)).is_err());
    let (mut four, number, _) = sent(&session, b"four");
    assert!(four.answer(number, &answer, seconds(0)).is_err());
}

#[test]
fn frames_of_one_session_are_nothing_in_another() {
    let server = Server::new(2, SessionLimits::default());
    let (one, two) = (established(1, &server), established(3, &server));
    let (_, _, of_one) = sent(&one, b"x");
    let (_, _, of_two) = sent(&two, b"x");
    let mixed = [&of_two[..9], &of_one[9..]].concat();
    assert!(server.refuses(&mixed.into()));
    let other = Server::new(4, SessionLimits::default());
    assert!(other.refuses(&of_one));
}

#[test]
fn hundreds_of_requests_may_overtake_each_other() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let mut all: Vec<_> = (0..500).map(|_| sent(&session, b"overtaken")).collect();
    // Backwards, and then in an order of large steps.
    all.reverse();
    all.sort_by_key(|(_, number, _)| number.wrapping_mul(7919) % 503);
    for (mut exchange, number, message) in all {
        let answer = server.answer(seconds(0), &Caller::unknown(), &message);
        exchange.answer(number, &answer, seconds(0)).unwrap();
        assert_eq!(exchange.step().unwrap(), Step::Done(Bytes::from_static(b"overtaken")));
    }
}

#[test]
fn the_window_has_the_size_that_is_written_down() {
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    let all: Vec<_> = (0..=REPLAY_WINDOW).map(|_| sent(&session, b"x").2).collect();
    assert!(matches!(server.receive(all.last().unwrap()), Received::Request(_)));
    assert!(server.refuses(&all[0]), "older than the window");
    assert!(matches!(server.receive(&all[1]), Received::Request(_)), "the oldest within it");
}

/// Frames above 65,535 bytes are several ciphertexts; none of them can be left out, doubled or moved.
#[test]
fn the_pieces_of_a_large_frame_hold_together() {
    const LARGE: usize = 1 << 20;
    let server = Server::new(2, SessionLimits::default());
    server.know(identity(1).device());
    let sessions = &server.sessions;
    let mut caller = eidetica_sync::session::Outbound::new(
        identity(1),
        offer(),
        SessionLimits::default(),
        LARGE,
        None,
        Some(server.key()),
    )
    .unwrap();
    let receive =
        |message: &Bytes| sessions.lock().unwrap().receive(seconds(0), &Caller::unknown(), LARGE, message).unwrap();
    let greeting = caller.greet().unwrap();
    let Received::Answer(answer) = receive(&greeting.message()) else { panic!("a greeting is no request") };
    let session = caller.welcome(seconds(0), greeting, &answer).unwrap();
    let (mut exchange, number, message) = sent(&session, b"first");
    let Received::Request(request) = receive(&message) else { panic!("a request") };
    exchange.answer(number, &server.echo(seconds(0), request), seconds(0)).unwrap();

    let payload = pattern(300_000);
    let mut exchange = eidetica_sync::session::Exchange::new(session, payload.clone()).unwrap();
    let Step::Send(_, message) = exchange.step().unwrap() else { panic!("one message") };
    assert_eq!(message.len(), 13 + 1 + 300_000 + 5 * 16);
    let (head, pieces) = (&message[..13], message[13..].chunks(65_535).collect::<Vec<_>>());
    let refused = |pieces: &[&[u8]]| {
        let answer = receive(&[&[head], pieces].concat().concat().into());
        matches!(answer, Received::Answer(answer) if answer == REFUSED)
    };
    let [a, b, c, d, e] = pieces[..] else { panic!("five pieces") };
    assert!(refused(&[a, b, c, d]), "the last one missing");
    assert!(refused(&[a, b, d, e]), "one missing");
    assert!(refused(&[b, c, d, e]), "the first one missing");
    assert!(refused(&[a, c, b, d, e]), "two exchanged");
    assert!(refused(&[a, b, b, c, d, e]), "one doubled");
    assert!(refused(&[a, b, c, d, e, e]), "the last one doubled");
    let Received::Request(request) = receive(&message) else { panic!("as it was sent it is a request") };
    assert!(request.payload == payload);
}
