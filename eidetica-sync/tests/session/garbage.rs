//! No bytes make either side panic, and all that is refused gets the same answer.

use bytes::Bytes;
use eidetica_contract::Caller;
use eidetica_sync::session::{HANDSHAKE, Received, SessionLimits};
use proptest::prelude::*;

use super::kit::*;

#[test]
fn garbage_of_every_length_is_refused() {
    let server = Server::new(2, SessionLimits::default());
    let proven = Caller::unknown().proven(identity(1).device());
    for len in 0..400 {
        for kind in 0..=255u8 {
            let mut message = vec![kind; len];
            message.iter_mut().skip(1).enumerate().for_each(|(at, byte)| *byte = (at * 37) as u8 ^ kind);
            let Received::Answer(answer) = server.receive(&message.clone().into()) else { panic!("{message:?}") };
            // A greeting is 32 random bytes behind its first two, so this is one.
            let greeting = kind == 1 && len == 34;
            assert!(answer == REFUSED || greeting, "{len} of {kind}");
            let _ = server.receive_from(seconds(0), &proven, &message.into());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_harm_neither_side(
        start in prop::collection::vec(0u8..10, 0..2),
        rest in prop::collection::vec(any::<u8>(), 0..700),
        genuine in 0usize..60,
    ) {
        let server = Server::new(2, SessionLimits::default());
        let session = established(1, &server);
        let (mut exchange, number, message) = sent(&session, b"x");
        let garbage: Bytes = [&start[..], &rest[..]].concat().into();
        let _ = server.receive(&garbage);
        let _ = server.receive_from(seconds(0), &Caller::unknown().proven(identity(1).device()), &garbage);
        // A genuine beginning, and garbage behind it.
        let mixed: Bytes = [&message[..genuine.min(message.len())], &rest[..]].concat().into();
        match mixed[..] {
            // A greeting of another form is told which one is spoken here, whatever else is in it.
            [1, form, ..] if form != HANDSHAKE => {
                let answer = server.receive(&mixed);
                prop_assert!(matches!(&answer, Received::Answer(answer) if answer[..] == [8, HANDSHAKE]), "{answer:?}");
            }
            _ => prop_assert!(mixed == message || server.refuses(&mixed)),
        }
        let believed = exchange.answer(number, &garbage, seconds(0));
        prop_assert!(believed.is_err() || garbage == REFUSED);
        let mut caller = outbound(3, None);
        let greeting = caller.greet().unwrap();
        prop_assert!(caller.welcome(seconds(0), greeting, &garbage).is_err());
        let _ = server.refuses(&message);
        prop_assert_eq!(run(&session, &server, b"still fine"), b"still fine"[..].to_vec());
    }
}
