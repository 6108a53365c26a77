//! Who is who, and what is agreed.

use bytes::Bytes;
use eidetica_contract::{Caller, ErrorKind};
use eidetica_sync::session::{Offer, Outbound, Received, SessionLimits, Sessions, Step};

use super::kit::*;

#[test]
fn each_side_learns_the_other_and_the_first_request_costs_one_round_trip_more() {
    let server = Server::new(2, SessionLimits::default());
    let mut caller = outbound(1, Some(server.key()));
    let greeting = caller.greet().unwrap();
    assert_eq!(greeting.message().len(), 34);
    let answer = server.answer(seconds(0), &Caller::unknown(), &greeting.message());
    assert_eq!(answer.len(), 230);
    let session = caller.welcome(seconds(0), greeting, &answer).unwrap();
    assert_eq!(session.peer(), server.key());
    let (mut exchange, number, message) = sent(&session, b"hello");
    assert_eq!(message.len(), 1 + 8 + 2 + 189 + 4 + 1 + 5 + 16);
    let Received::Request(request) = server.receive(&message) else { panic!("the request is in the third message") };
    assert_eq!((request.peer, &request.payload[..]), (identity(1).device(), &b"hello"[..]));
    let answer = server.echo(seconds(0), request);
    assert_eq!(answer.len(), 1 + 4 + 5 + 5 + 16);
    exchange.answer(number, &answer, seconds(0)).unwrap();
    assert_eq!(exchange.step().unwrap(), Step::Done(Bytes::from_static(b"hello")));
    // From now on the proof is left out.
    let (_, _, message) = sent(&session, b"hello");
    assert_eq!(message.len(), 1 + 8 + 4 + 1 + 5 + 16);
}

#[test]
fn a_wrong_pinned_key_is_named_and_nothing_is_said_to_it() {
    let server = Server::new(2, SessionLimits::default());
    let expected = identity(9).device();
    let error = shake(&mut outbound(1, Some(expected)), &server, seconds(0), &Caller::unknown()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(error.context("expected"), Some(expected.to_string().as_str()));
    assert_eq!(error.context("proven"), Some(server.key().to_string().as_str()));
    assert_eq!(server.sessions.lock().unwrap().load().known, 0);
}

#[test]
fn a_man_in_the_middle_shows_his_own_key_or_is_found_out() {
    // He answers with his own keys, and calls the real peer with his own keys.
    let (middle, server) = (Server::new(66, SessionLimits::default()), Server::new(2, SessionLimits::default()));
    let error = shake(&mut outbound(1, Some(server.key())), &middle, seconds(0), &Caller::unknown()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let near = established(1, &middle);
    let far = established(66, &server);
    assert_eq!(near.peer(), middle.key(), "the caller knows whom it talks to");
    let (_, _, message) = sent(&near, b"secret");
    let Received::Request(opened) = middle.receive(&message) else { panic!("he reads what is said to him") };
    let (_, _, relayed) = sent(&far, b"secret");
    let Received::Request(arrived) = server.receive(&relayed) else { panic!("and says it as himself") };
    assert_eq!(opened.peer, identity(1).device());
    assert_eq!(arrived.peer, middle.key(), "not as the one whom he relays");
    assert!(server.refuses(&message), "what was sealed for him is of no use elsewhere");
}

/// A forged refusal makes the caller shake hands again: whoever forged it must not be the one who answers.
#[test]
fn the_first_peer_stays_the_peer() {
    let (server, middle) = (Server::new(2, SessionLimits::default()), Server::new(66, SessionLimits::default()));
    let mut caller = outbound(1, None);
    let session = shake(&mut caller, &server, seconds(0), &Caller::unknown()).unwrap();
    caller.forget(&session);
    let error = shake(&mut caller, &middle, seconds(0), &Caller::unknown()).unwrap_err();
    assert_eq!(
        (error.kind(), error.context("expected")),
        (ErrorKind::Unauthenticated, Some(&*server.key().to_string()))
    );
    assert!(shake(&mut caller, &server, seconds(0), &Caller::unknown()).is_ok());
}

#[test]
fn every_changed_byte_of_a_handshake_ends_it() {
    let server = Server::new(2, SessionLimits::default());
    let fresh = || {
        let caller = outbound(1, None);
        let greeting = caller.greet().unwrap();
        let answer = server.answer(seconds(0), &Caller::unknown(), &greeting.message());
        (caller, greeting, answer)
    };
    for at in 0..34 {
        let (mut caller, greeting, _) = fresh();
        let mut message = greeting.message().to_vec();
        message[at] ^= 1;
        let answer = server.answer(seconds(0), &Caller::unknown(), &message.into());
        assert!(caller.welcome(seconds(0), greeting, &answer).is_err(), "byte {at} of the greeting");
    }
    for at in 0..230 {
        let (mut caller, greeting, answer) = fresh();
        let mut answer = answer.to_vec();
        answer[at] ^= 1;
        let welcomed = caller.welcome(seconds(0), greeting, &answer);
        if (1..9).contains(&at) {
            // The id of the handshake: the other side finds nothing under it.
            let (_, _, message) = sent(&welcomed.unwrap(), b"x");
            assert!(server.refuses(&message), "byte {at} of the welcome");
        } else {
            assert!(welcomed.is_err(), "byte {at} of the welcome");
        }
    }
    let (mut caller, greeting, answer) = fresh();
    let session = caller.welcome(seconds(0), greeting, &answer).unwrap();
    let (_, _, message) = sent(&session, b"x");
    for at in 0..message.len() {
        let (mut caller, greeting, answer) = fresh();
        let (_, _, message) = sent(&caller.welcome(seconds(0), greeting, &answer).unwrap(), b"x");
        let mut changed = message.to_vec();
        changed[at] ^= 1;
        assert!(server.refuses(&changed.into()), "byte {at} of the proof");
    }
}

#[test]
fn messages_thrown_back_to_their_author_are_no_peer() {
    // A device that is called by itself: its own welcome comes back to it.
    let server = Server::new(2, SessionLimits::default());
    let mut caller =
        Outbound::new(server.identity.clone(), offer(), SessionLimits::default(), MAX, None, None).unwrap();
    let error = shake(&mut caller, &server, seconds(0), &Caller::unknown()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    // The greeting itself as an answer.
    let mut caller = outbound(1, None);
    let greeting = caller.greet().unwrap();
    let message = greeting.message();
    assert_eq!(caller.welcome(seconds(0), greeting, &message).unwrap_err().kind(), ErrorKind::Unauthenticated);
}

fn between(caller: Offer, answerer: Offer) -> eidetica_contract::Result<(u16, u64)> {
    let limits = SessionLimits::default();
    let mut sessions = Sessions::new(identity(2), answerer, limits);
    let mut caller = Outbound::new(identity(1), caller, limits, MAX, None, None)?;
    let greeting = caller.greet()?;
    let received = sessions.receive(seconds(0), &Caller::unknown(), MAX, &greeting.message())?;
    let Received::Answer(answer) = received else { panic!("a greeting is no request") };
    let session = caller.welcome(seconds(0), greeting, &answer)?;
    let (_, _, message) = sent(&session, b"x");
    let received = sessions.receive(seconds(0), &Caller::unknown(), MAX, &message)?;
    let Received::Request(request) = received else { panic!("the request is in the third message") };
    let agreed = session.agreed().unwrap();
    assert_eq!((agreed.version, agreed.capabilities), (request.agreed.version, request.agreed.capabilities));
    Ok((agreed.version, agreed.capabilities))
}

#[test]
fn versions_and_capabilities_are_agreed_or_the_error_says_what_each_side_speaks() {
    let agreed = between(Offer::versions(1, 4).capabilities(0b1100), Offer::versions(3, 9).capabilities(0b0110));
    assert_eq!(agreed.unwrap(), (4, 0b0100));
    let error = between(Offer::versions(1, 2), Offer::versions(3, 9)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!((error.context("ours"), error.context("theirs")), (Some("1 to 2"), Some("3 to 9")));
}

/// Nobody between the two can make them speak less than both can: the offers are in what is sealed and signed, and the
/// one number that is not, the form of handshake, is bound to it.
#[test]
fn no_downgrade() {
    let server = Server::new(2, SessionLimits::default());
    let mut caller = outbound(1, None);
    let greeting = caller.greet().unwrap();
    for form in [0, 2, 255] {
        let mut message = greeting.message().to_vec();
        message[1] = form;
        assert_eq!(server.answer(seconds(0), &Caller::unknown(), &message.into()), [8, 1][..]);
    }
    let error = caller.welcome(seconds(0), greeting, &[8, 7]).unwrap_err();
    assert_eq!((error.kind(), error.context("theirs")), (ErrorKind::Unsupported, Some("7")));
}

#[test]
fn a_handshake_is_finished_once() {
    let server = Server::new(2, SessionLimits::default());
    let session = shake(&mut outbound(1, None), &server, seconds(0), &Caller::unknown()).unwrap();
    let (_, _, message) = sent(&session, b"x");
    assert!(matches!(server.receive(&message), Received::Request(_)));
    assert!(server.refuses(&message), "the third message again");
    let other = shake(&mut outbound(1, None), &server, seconds(0), &Caller::unknown()).unwrap();
    let (_, _, fresh) = sent(&other, b"x");
    // The proof of one handshake under the id of another.
    let mixed = [&fresh[..9], &message[9..]].concat();
    assert!(server.refuses(&mixed.into()));
}

/// Until the first answer has come, each message carries the proof. It has to be the same one.
#[test]
fn frames_before_the_first_answer_carry_the_proof_and_any_may_come_first() {
    let server = Server::new(2, SessionLimits::default());
    let session = shake(&mut outbound(1, None), &server, seconds(0), &Caller::unknown()).unwrap();
    let all: Vec<_> = (0..10).map(|_| sent(&session, b"x").2).collect();
    assert!(matches!(server.receive(&all[7]), Received::Request(_)));
    for at in 9..200 {
        let mut changed = all[3].to_vec();
        changed[at] ^= 1;
        assert!(server.refuses(&changed.into()), "byte {at}");
    }
    for message in all.iter().take(7) {
        assert!(matches!(server.receive(message), Received::Request(_)));
    }
}
