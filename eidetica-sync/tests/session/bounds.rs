//! Time, floods, and the size of the table.

use std::time::Duration;

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind};
use eidetica_sync::session::{CloseReason, Exchange, Outbound, Received, SessionLimits, Step};

use super::kit::*;

fn small() -> SessionLimits {
    let mut limits = SessionLimits::default();
    (limits.known, limits.strangers, limits.per_origin, limits.per_peer) = (4, 6, 3, 2);
    (limits.handshakes, limits.handshakes_per_origin) = (6, 3);
    limits
}

fn from(origin: &str) -> Caller {
    Caller::unknown().origin(origin)
}

fn alive(session: &std::sync::Arc<eidetica_sync::session::Session>, server: &Server) -> bool {
    let (_, _, message) = sent(session, b"alive?");
    !server.refuses(&message)
}

fn call(seed: u8, server: &Server, caller: &Caller) -> std::sync::Arc<eidetica_sync::session::Session> {
    let session = shake(&mut outbound(seed, None), server, seconds(0), caller).unwrap();
    let (_, _, message) = sent(&session, b"first");
    assert!(matches!(server.receive_from(seconds(0), caller, &message), Received::Request(_)));
    session
}

#[test]
fn a_flood_of_greetings_is_bounded_and_leaves_sessions_alone() {
    let server = Server::new(2, small());
    server.know(identity(1).device());
    let (peer, stranger) = (call(1, &server, &from("home")), call(3, &server, &from("home")));
    // One who is in the middle of a handshake, from somewhere else than the flood.
    let mut honest = outbound(4, None);
    let greeting = honest.greet().unwrap();
    let answer = server.answer(seconds(0), &from("elsewhere"), &greeting.message());
    let flood = outbound(5, None).greet().unwrap().message();
    for count in 0..1000 {
        // At first from one place, then from two.
        let origin = ["flood", "deluge"][count / 500 * (count % 2)];
        server.answer(seconds(0), &from(origin), &flood);
        let load = server.sessions.lock().unwrap().load();
        assert!(load.handshakes <= if count < 500 { 4 } else { 6 }, "{load:?}");
    }
    let session = honest.welcome(seconds(0), greeting, &answer).unwrap();
    assert!(alive(&session, &server), "the flood takes its own places alone");
    assert!(alive(&peer, &server) && alive(&stranger, &server));
}

#[test]
fn a_flood_of_sessions_takes_no_place_of_known_peers_or_of_other_origins() {
    let server = Server::new(2, small());
    server.know(identity(1).device());
    let (peer, stranger) = (call(1, &server, &from("home")), call(3, &server, &from("home")));
    for seed in 10..60 {
        call(seed, &server, &from("flood"));
        let load = server.sessions.lock().unwrap().load();
        assert!((load.known, load.strangers <= 4) == (1, true), "{load:?}");
    }
    assert!(alive(&peer, &server) && alive(&stranger, &server));
    // From many origins: strangers are bounded in all, and the known peer stays.
    for seed in 60..120 {
        call(seed, &server, &from(&format!("bot {seed}")));
        assert!(server.sessions.lock().unwrap().load().strangers <= 6);
    }
    assert!(alive(&peer, &server));
}

#[test]
fn of_known_peers_the_one_used_longest_ago_goes() {
    let server = Server::new(2, small());
    (10..=20).for_each(|seed| server.know(identity(seed).device()));
    let sessions: Vec<_> = (10..14).map(|seed| call(seed, &server, &from("home"))).collect();
    assert!(alive(&sessions[0], &server), "and is thus used last");
    call(14, &server, &from("home"));
    assert_eq!(server.sessions.lock().unwrap().load().known, 4);
    assert!(alive(&sessions[0], &server));
    assert!(!alive(&sessions[1], &server));
}

#[test]
fn one_device_has_so_many_sessions() {
    let server = Server::new(2, small());
    let (first, second) = (call(1, &server, &from("home")), call(1, &server, &from("home")));
    let third = call(1, &server, &from("home"));
    assert!(!alive(&first, &server) && alive(&second, &server) && alive(&third, &server));
}

#[test]
fn who_becomes_known_moves_and_who_is_forgotten_moves_back() {
    let server = Server::new(2, small());
    let session = call(1, &server, &from("home"));
    let load = || server.sessions.lock().unwrap().load();
    assert_eq!((load().known, load().strangers), (0, 1));
    server.know(identity(1).device());
    assert_eq!((load().known, load().strangers), (1, 0));
    server.sessions.lock().unwrap().set_known(identity(1).device(), false);
    assert_eq!((load().known, load().strangers), (0, 1));
    assert!(alive(&session, &server));
}

/// To the millisecond: that the table is swept once a second does not show.
#[test]
fn sessions_and_handshakes_expire() {
    let millis = Duration::from_millis;
    let server = Server::new(2, SessionLimits::default());
    let receive = |server: &Server, now, message: &Bytes| server.answer(now, &Caller::unknown(), message);
    let look = |server: &Server, now| drop(receive(server, now, &Bytes::new()));
    // By idleness.
    let session = established(1, &server);
    assert_ne!(receive(&server, seconds(599), &sent(&session, b"x").2), REFUSED);
    look(&server, millis(1_198_500));
    assert_eq!(server.sessions.lock().unwrap().load().strangers, 1);
    assert_eq!(receive(&server, seconds(599 + 600), &sent(&session, b"x").2), REFUSED);
    assert_eq!(server.sessions.lock().unwrap().load().strangers, 0);
    // By age, however busy.
    let server = Server::new(2, SessionLimits::default());
    let session = established(1, &server);
    for minute in 1..60 {
        assert_ne!(receive(&server, seconds(minute * 60), &sent(&session, b"x").2), REFUSED, "minute {minute}");
    }
    assert_ne!(receive(&server, millis(3_599_500), &sent(&session, b"x").2), REFUSED);
    assert_eq!(receive(&server, seconds(3600), &sent(&session, b"x").2), REFUSED);
    // A handshake.
    let session = shake(&mut outbound(1, None), &server, seconds(3600), &Caller::unknown()).unwrap();
    look(&server, millis(3_609_500));
    assert_eq!(receive(&server, seconds(3610), &sent(&session, b"x").2), REFUSED);
    assert_eq!(server.sessions.lock().unwrap().load(), Default::default());
    // Nobody has to come back for what has expired to go.
    let server = Server::new(2, SessionLimits::default());
    established(1, &server);
    shake(&mut outbound(3, None), &server, seconds(0), &Caller::unknown()).unwrap();
    look(&server, seconds(700));
    assert_eq!(server.sessions.lock().unwrap().load(), Default::default());
}

#[test]
fn a_session_carries_so_many_frames() {
    let mut limits = SessionLimits::default();
    limits.frames = 10;
    let server = Server::new(2, limits);
    let session = established(1, &server);
    for _ in 1..10 {
        assert_eq!(run(&session, &server, b"x"), b"x"[..]);
    }
    assert!(server.refuses(&sent(&session, b"x").2));
    // The calling side has limits of its own, and renews before they are reached.
    let mut caller = Outbound::new(identity(1), offer(), limits, MAX, None, None).unwrap();
    let session = shake(&mut caller, &Server::new(2, limits), seconds(0), &Caller::unknown()).unwrap();
    for count in 0..10 {
        assert_eq!(caller.session(seconds(0)).unwrap().is_some(), count < 9, "after {count}");
        let _ = sent(&session, b"x");
    }
    let mut exchange = Exchange::new(session, Bytes::new()).unwrap();
    assert_eq!(exchange.step().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn the_calling_side_renews_before_the_other_side_forgets() {
    let mut limits = SessionLimits::default();
    (limits.age, limits.idle) = (seconds(100), seconds(40));
    let server = Server::new(2, limits);
    let mut caller = outbound(1, None);
    let now = |seconds: u64| Duration::from_secs(1_000_000 + seconds);
    shake(&mut caller, &server, now(0), &Caller::unknown()).unwrap();
    assert!(caller.session(now(34)).unwrap().is_some());
    assert!(caller.session(now(34 + 35)).unwrap().is_none(), "idle for seven eighths of what the other side said");
    shake(&mut caller, &server, now(100), &Caller::unknown()).unwrap();
    for step in 1..9 {
        assert!(caller.session(now(100 + step * 10)).unwrap().is_some());
    }
    assert!(caller.session(now(188)).unwrap().is_none(), "old");
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let server = Server::new(2, SessionLimits::default());
    let mut caller = outbound(1, None);
    let (early, late) = (seconds(10), seconds(1_000_000));
    let session = shake(&mut caller, &server, late, &Caller::unknown()).unwrap();
    let receive = |now| server.answer(now, &Caller::unknown(), &sent(&session, b"x").2);
    assert_ne!(receive(late), REFUSED);
    assert_ne!(receive(early), REFUSED);
    assert!(caller.session(early).unwrap().is_some());
    assert_ne!(receive(Duration::ZERO), REFUSED);
    // It still ends.
    assert_eq!(receive(seconds(601)), REFUSED);
    assert!(caller.session(early + seconds(601)).unwrap().is_none());
}

#[test]
fn a_closed_session_says_why() {
    for (reason, kind) in [
        (CloseReason::NotWelcome, Some(ErrorKind::PermissionDenied)),
        (CloseReason::ShuttingDown, Some(ErrorKind::Unreachable)),
        (CloseReason::Violation, Some(ErrorKind::InvalidInput)),
        (CloseReason::Renew, None),
    ] {
        let server = Server::new(2, SessionLimits::default());
        let (one, two) = (established(1, &server), established(3, &server));
        server.sessions.lock().unwrap().close_peer(&identity(1).device(), reason);
        let (mut exchange, number, message) = sent(&one, b"x");
        let Received::Answer(answer) = server.receive(&message) else { panic!("it is not looked at") };
        let answered = exchange.answer(number, &answer, seconds(0)).map_err(|error| error.kind());
        match kind {
            Some(kind) => assert_eq!(answered, Err(kind)),
            None => assert_eq!((answered, exchange.step().unwrap()), (Ok(()), Step::Renew)),
        }
        assert!(server.refuses(&sent(&one, b"x").2), "then it is gone");
        assert!(alive(&two, &server));
    }
}

#[test]
fn a_reply_reaches_its_caller_although_the_session_had_to_go() {
    let server = Server::new(2, small());
    let session = call(1, &server, &from("home"));
    let (mut exchange, number, message) = sent(&session, b"slow");
    let Received::Request(request) = server.receive(&message) else { panic!("a request") };
    (0..2).for_each(|_| drop(call(1, &server, &from("home"))));
    assert!(!alive(&session, &server));
    exchange.answer(number, &server.echo(seconds(0), request), seconds(0)).unwrap();
    assert_eq!(exchange.step().unwrap(), Step::Done(Bytes::from_static(b"slow")));
}

#[test]
fn whoever_is_refused_twice_gives_up() {
    let server = Server::new(2, SessionLimits::default());
    let (mut exchange, number, _) = sent(&established(1, &server), b"x");
    exchange.answer(number, &Bytes::from_static(REFUSED), seconds(0)).unwrap();
    assert_eq!(exchange.step().unwrap(), Step::Renew);
    exchange.restart(established(1, &server)).unwrap();
    let Step::Send(number, _) = exchange.step().unwrap() else { panic!("once more") };
    exchange.answer(number, &Bytes::from_static(REFUSED), seconds(0)).unwrap();
    assert_eq!(exchange.step().unwrap_err().kind(), ErrorKind::Unauthenticated);
}

/// Whether the first part of a message of so many bytes is kept.
fn begins(session: &std::sync::Arc<eidetica_sync::session::Session>, server: &Server, bytes: usize) -> bool {
    let mut exchange = Exchange::new(session.clone(), pattern(bytes)).unwrap();
    let Step::Send(number, message) = exchange.step().unwrap() else { panic!("the first part") };
    let answer = server.answer(seconds(0), &from("home"), &message);
    exchange.answer(number, &answer, seconds(0)).is_ok()
}

#[test]
fn messages_in_parts_of_strangers_take_no_room_of_known_peers() {
    const MESSAGE: usize = 1 << 20;
    let mut limits = small();
    (limits.all_bytes, limits.stranger_bytes) = (8 * MESSAGE, 3 * MESSAGE);
    let server = Server::new(2, limits);
    server.know(identity(1).device());
    let (peer, one, other) =
        (call(1, &server, &from("home")), call(3, &server, &from("here")), call(4, &server, &from("there")));
    assert!(begins(&one, &server, MESSAGE) && begins(&one, &server, MESSAGE) && begins(&other, &server, MESSAGE));
    assert!(!begins(&one, &server, MESSAGE) && !begins(&other, &server, MESSAGE), "strangers have had their part");
    assert_eq!((0..10).filter(|_| begins(&peer, &server, MESSAGE)).count(), 5, "the rest is for known peers");
    assert_eq!(server.sessions.lock().unwrap().load().held_bytes, 8 * MESSAGE);
}
