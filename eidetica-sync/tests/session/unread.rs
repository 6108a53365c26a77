//! Answers that nobody reads.

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind};
use eidetica_sync::session::{Received, Session, SessionLimits};

use super::kit::*;

fn small() -> SessionLimits {
    let mut limits = SessionLimits::default();
    (limits.unread, limits.unread_per_peer) = (100_000, 50_000);
    (limits.unread_strangers, limits.unread_per_origin) = (60_000, 25_000);
    limits
}

/// Has a caller ask for 20,000 bytes; the answer as a transport would hold it, and what the caller makes of it.
fn ask(server: &Server, session: &std::sync::Arc<Session>, caller: &Caller) -> (Bytes, Result<(), ErrorKind>) {
    let (mut exchange, number, message) = sent(session, b"much");
    let Received::Request(request) = server.receive_from(seconds(0), caller, &message) else { panic!("a request") };
    let answer = server.sessions.lock().unwrap().reply(seconds(0), request.token, pattern(20_000)).seal();
    let made = exchange.answer(number, &answer, seconds(0)).map_err(|error| error.kind());
    (answer, made)
}

fn unread(server: &Server) -> usize {
    server.sessions.lock().unwrap().load().unread_bytes
}

#[test]
fn what_a_peer_does_not_read_is_bounded_and_takes_no_room_of_others() {
    let server = Server::new(2, small());
    [1, 3, 4].into_iter().for_each(|seed| server.know(identity(seed).device()));
    let nowhere = Caller::unknown();
    // Any number of sessions are one peer.
    let sessions = [established(1, &server), established(1, &server)];
    let mut held = Vec::new();
    for session in sessions.iter().cycle().take(10) {
        held.push(ask(&server, session, &nowhere));
    }
    assert_eq!(held.iter().filter(|(_, made)| made.is_ok()).count(), 2);
    assert!(held.iter().all(|(_, made)| matches!(made, Ok(()) | Err(ErrorKind::Busy))), "{held:?}");
    assert_eq!(unread(&server), 40_000);
    let others = [established(3, &server), established(4, &server)];
    for session in others.iter().cycle().take(4) {
        held.push(ask(&server, session, &nowhere));
    }
    assert_eq!(held.iter().filter(|(_, made)| made.is_ok()).count(), 5, "all together have their bound");
    // Strangers have none of it, and take none of it.
    held.push(ask(&server, &established(5, &server), &nowhere));
    assert!(held.last().unwrap().1.is_ok());
    // Where the sessions have gone meanwhile their answers count as before.
    assert_eq!(unread(&server), 120_000);
    held.clear();
    assert_eq!(unread(&server), 0);
    assert!(ask(&server, &sessions[0], &nowhere).1.is_ok());
}

/// Keys cost a stranger nothing, so what he does not read counts by where he comes from.
#[test]
fn what_strangers_do_not_read_is_bounded_for_each_origin() {
    let server = Server::new(2, small());
    let mut held = Vec::new();
    let mut flood = |origin: &str, seeds: std::ops::Range<u8>| {
        let mut answered = 0;
        for seed in seeds {
            let caller = Caller::unknown().origin(origin);
            let (answer, made) = ask(&server, &established(seed, &server), &caller);
            answered += usize::from(made.is_ok());
            held.push(answer);
        }
        answered
    };
    assert_eq!(flood("here", 10..20), 1);
    assert_eq!(flood("there", 20..30), 1);
    assert_eq!(flood("elsewhere", 30..31), 1);
    assert_eq!(flood("nowhere", 31..32), 0, "all together have their bound");
    assert_eq!(unread(&server), 60_000);
    drop(held);
    assert_eq!(unread(&server), 0);
}
