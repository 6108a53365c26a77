//! Requests and answers, as they travel.

use eidetica_contract::ErrorKind;
use eidetica_core::Id;
use eidetica_core::auth::Permission;
use eidetica_sync::access::{Answer, MAX_REASON, Request, RequestId, Wanted};
use proptest::prelude::*;

use super::kit::*;

fn id() -> Id {
    Id::from_bytes([7; 32])
}

fn wanted() -> Wanted {
    let mut wanted = Wanted::new(id(), public(1), Some(Permission::Write), "Anna's laptop");
    wanted.metadata.insert("mail".into(), "anna@example.org".into());
    wanted.metadata.insert("why".into(), "we met at the fair".into());
    wanted
}

fn signed() -> Request {
    Request::sign(wanted(), public(THERE), public(HERE), &key(1)).unwrap()
}

#[test]
fn a_request_holds_between_two_devices_alone_and_to_the_byte() {
    let request = signed();
    let bytes = request.to_bytes();
    assert_eq!(Request::parse(&bytes, &public(THERE), &public(HERE)), Some(request));
    // Sent on by the one that was asked, sent by a third, to a third.
    for (from, to) in [(HERE, THERE), (3, HERE), (THERE, 3), (THERE, THERE)] {
        assert_eq!(Request::parse(&bytes, &public(from), &public(to)), None);
    }
    for at in 0..bytes.len() {
        let mut forged = bytes.to_vec();
        forged[at] ^= 1;
        assert_eq!(Request::parse(&forged, &public(THERE), &public(HERE)), None, "byte {at}");
        assert_eq!(Request::parse(&bytes[..at], &public(THERE), &public(HERE)), None);
    }
    assert_eq!(Request::parse(&[&bytes[..], &[0]].concat(), &public(THERE), &public(HERE)), None);
}

#[test]
fn what_cannot_be_sent_is_refused_before_it_is_signed() {
    let refused = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = wanted();
        change(&mut wanted);
        let error = Request::sign(wanted, public(THERE), public(HERE), &key(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    };
    refused(&|wanted| wanted.name.clear());
    refused(&|wanted| wanted.name = "x".repeat(257));
    refused(&|wanted| wanted.name = "a\u{1b}[2J".into());
    refused(&|wanted| drop(wanted.metadata.insert(String::new(), "x".into())));
    refused(&|wanted| drop(wanted.metadata.insert("x".repeat(65), "x".into())));
    refused(&|wanted| drop(wanted.metadata.insert("a".into(), "x\ny".into())));
    refused(&|wanted| drop(wanted.metadata.insert("a".into(), "x".repeat(1024))));
    refused(&|wanted| (0..17).for_each(|n| drop(wanted.metadata.insert(format!("{n}"), String::new()))));
    refused(&|wanted| wanted.key = public(2));
    let mut most = Wanted::new(id(), public(1), None, "x".repeat(256));
    (0..16).for_each(|n| drop(most.metadata.insert(format!("{n:02}"), "y".repeat(62))));
    let request = Request::sign(most, public(THERE), public(HERE), &key(1)).unwrap();
    let bytes = request.to_bytes();
    assert!(bytes.len() < 2048, "{}", bytes.len());
    assert_eq!(Request::parse(&bytes, &public(THERE), &public(HERE)), Some(request));
}

#[test]
fn answers_travel_in_one_form() {
    let request: RequestId = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_eq!(request.to_string(), "00112233445566778899aabbccddeeff");
    for wrong in ["", "0", "00112233445566778899aabbccddeefg", "+0112233445566778899aabbccddeeff"] {
        assert_eq!(wrong.parse::<RequestId>().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let rejected = |reason: String| Answer::Rejected { id: request, reason };
    let answers = [
        Answer::Pending(request),
        Answer::Granted(Permission::Read),
        Answer::Granted(Permission::Admin),
        rejected(String::new()),
        rejected("not this year\nsorry".into()),
        rejected("x".repeat(MAX_REASON)),
        Answer::Nothing,
    ];
    for answer in answers {
        let bytes = answer.to_bytes();
        assert_eq!(Answer::parse(&bytes), Some(answer));
        assert_eq!(Answer::parse(&[&bytes[..], &[0]].concat()), None);
        (0..bytes.len()).for_each(|at| assert_eq!(Answer::parse(&bytes[..at]), None));
    }
    for wrong in [rejected("x".repeat(MAX_REASON + 1)), rejected("\u{1b}[2J".into())] {
        assert_eq!(Answer::parse(&wrong.to_bytes()), None);
    }
    assert_eq!(Answer::parse(&[1, 0]), None, "granted nothing");
    assert_eq!(Answer::parse(&[1, 4]), None);
}

#[test]
fn an_answer_tells_the_application_what_to_do() {
    let id: RequestId = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_eq!(Answer::Granted(Permission::Read).into_result(&wanted()).unwrap(), Permission::Read);
    let pending = Answer::Pending(id).into_result(&wanted()).unwrap_err();
    assert_eq!((pending.kind(), pending.context("request_id")), (ErrorKind::Pending, Some(&*id.to_string())));
    assert!(pending.is_retryable() && pending.context("database") == Some(&*wanted().database.to_string()));
    let rejected = Answer::Rejected { id, reason: "no".into() }.into_result(&wanted()).unwrap_err();
    assert_eq!((rejected.kind(), rejected.context("because")), (ErrorKind::PermissionDenied, Some("no")));
    refused(Answer::Nothing.into_result(&wanted()), ErrorKind::PermissionDenied, "no_access");
}

proptest! {
    #[test]
    fn hostile_bytes_are_no_request_and_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        genuine in 0usize..300,
    ) {
        let request = signed().to_bytes();
        for bytes in [bytes.clone(), [&request[..genuine.min(request.len())], &bytes[..]].concat()] {
            if bytes != request {
                prop_assert!(Request::parse(&bytes, &public(THERE), &public(HERE)).is_none());
            }
            if let Some(answer) = Answer::parse(&bytes) {
                prop_assert_eq!(answer.to_bytes(), &bytes);
            }
        }
    }

    #[test]
    fn every_request_that_can_be_signed_is_read_as_it_was(
        name in "\\PC{1,80}",
        pairs in prop::collection::btree_map("\\PC{1,12}", "\\PC{0,12}", 0..10),
        permission in prop::option::of(prop::sample::select(vec![Permission::Read, Permission::Write, Permission::Admin])),
    ) {
        let mut wanted = Wanted::new(id(), public(1), permission, name);
        wanted.metadata = pairs;
        if let Ok(request) = Request::sign(wanted, public(THERE), public(HERE), &key(1)) {
            prop_assert_eq!(Request::parse(&request.to_bytes(), &public(THERE), &public(HERE)), Some(request));
        }
    }
}
