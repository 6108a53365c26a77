//! `docs/spec/vectors/session.json`: what the specification states, this program does.
//!
//! `cargo test -p eidetica-sync regenerate -- --ignored` writes it, when the protocol is meant to change.

use std::path::PathBuf;

use bytes::Bytes;
use eidetica_contract::Caller;
use eidetica_sync::session::{Exchange, Outbound, Received, SessionLimits, Sessions, Step};
use serde::{Deserialize, Serialize};

use super::kit::*;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    /// How both sides take their randomness; see the specification.
    dice: String,
    /// The seeds of the device keys, and of the dice.
    caller_seed: u8,
    answerer_seed: u8,
    conversations: Vec<Conversation>,
}

/// Messages of the calling side, each with the answer to it.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Conversation {
    name: String,
    max_message: usize,
    /// Whether the transport proves the keys of both.
    proven: bool,
    messages: Vec<Message>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Message {
    about: String,
    sent: String,
    answered: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Bytes {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/vectors/session.json")
}

/// The answering side of a conversation: echoes each request.
fn answer(sessions: &mut Sessions, proven: bool, max_message: usize, message: &Bytes) -> Bytes {
    let mut caller = Caller::unknown();
    caller.proven = proven.then(|| identity(1).device());
    match sessions.receive(seconds(0), &caller, max_message, message).unwrap() {
        Received::Answer(answer) => answer,
        Received::Request(request) => sessions.reply(seconds(0), request.token, request.payload).seal(),
    }
}

fn sessions() -> Sessions {
    let mut sessions = Sessions::new(identity(2), offer().capabilities(0b101), SessionLimits::default());
    sessions.set_known(identity(1).device(), true);
    sessions
}

fn conversation(name: &str, max_message: usize, proven: bool, requests: &[(&str, Bytes)]) -> Conversation {
    let mut sessions = sessions();
    let peer = identity(2).device();
    let offer = offer().capabilities(0b110);
    let known = proven.then_some(peer);
    let mut caller =
        Outbound::new(identity(1), offer, SessionLimits::default(), max_message, known, Some(peer)).unwrap();
    let mut messages = Vec::new();
    let mut ask = |about: String, message: &Bytes| {
        let answer = answer(&mut sessions, proven, max_message, message);
        messages.push(Message { about, sent: hex(message), answered: hex(&answer) });
        answer
    };
    let session = match caller.session(seconds(0)).unwrap() {
        Some(session) => session,
        None => {
            let greeting = caller.greet().unwrap();
            let welcome = ask("the handshake".into(), &greeting.message());
            caller.welcome(seconds(0), greeting, &welcome).unwrap()
        }
    };
    let mut last = Bytes::new();
    for (about, payload) in requests {
        let mut exchange = Exchange::new(session.clone(), payload.clone()).unwrap();
        let mut under_way = std::collections::VecDeque::new();
        loop {
            match exchange.step().unwrap() {
                Step::Send(number, message) => under_way.push_back((number, message)),
                Step::Wait => {
                    let (number, message) = under_way.pop_front().unwrap();
                    exchange.answer(number, &ask((*about).into(), &message), seconds(0)).unwrap();
                    last = message;
                }
                Step::Done(reply) => break assert!(reply == payload),
                Step::Renew => panic!("the session is there"),
            }
        }
    }
    ask("the last message again: refused".into(), &last);
    assert_eq!(session.agreed().unwrap().capabilities, 0b100);
    Conversation { name: name.into(), max_message, proven, messages }
}

fn make() -> Vectors {
    let requests = [("a request of no bytes", Bytes::new()), ("a request of five bytes", Bytes::from_static(b"hello"))];
    let parts = [("a request and a reply in two parts each", pattern(20_000))];
    Vectors {
        dice: "blake3 derive_key \"eidetica tests, dice\" over seed (u8) and count (u64), as XOF".into(),
        caller_seed: 1,
        answerer_seed: 2,
        conversations: vec![
            conversation("sealed", 65_536, false, &requests),
            conversation("plain", 65_536, true, &requests),
            conversation("parts", 16_384, false, &parts),
        ],
    }
}

fn text(vectors: &Vectors) -> String {
    serde_json::to_string_pretty(vectors).unwrap() + "\n"
}

#[test]
#[ignore = "writes the vectors"]
fn regenerate() {
    std::fs::write(path(), text(&make())).unwrap();
}

#[test]
fn made_again_the_vectors_are_the_same() {
    assert!(std::fs::read_to_string(path()).unwrap() == text(&make()), "session.json");
}

/// The answering side alone, fed with what the file says.
#[test]
fn the_answers_are_those_of_the_file() {
    let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap();
    assert_eq!(vectors.conversations.len(), 3);
    for conversation in vectors.conversations {
        let mut sessions = sessions();
        for message in conversation.messages {
            let answer = answer(&mut sessions, conversation.proven, conversation.max_message, &unhex(&message.sent));
            assert_eq!(hex(&answer), message.answered, "{}: {}", conversation.name, message.about);
        }
    }
}
