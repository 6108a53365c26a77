//! Bytes that nobody meant, and messages that were damaged on the way.

use bytes::Bytes;
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::{Database, Point};
use eidetica_sync::reconcile::{
    Claim, Content, Finding, Limits, Page, Piece, Print, Reply, Request, Short, Width, answer,
};
use proptest::prelude::*;

use super::kit::*;

fn page(entries: &[&VerifiedEntry]) -> Page {
    Page::pack(entries.iter().copied(), 16 << 20).unwrap().0
}

fn piece(entries: &[&VerifiedEntry], next: u64, until: u64) -> Piece {
    Piece { page: page(entries), next, until, left: u64::MAX, digest: [9; 32] }
}

/// Messages of every kind, from an exchange that uses them all.
fn messages() -> Vec<(bool, Bytes)> {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, 3, "a");
    let all: Vec<&VerifiedEntry> = chain.iter().collect();
    let (ids, short) = (vec![chain[0].id(), chain[1].id()], Width::Short);
    let shorts: Vec<Short> = ids.iter().map(|id| Short::of(id, short)).collect();
    let most = 1 << 16;
    let claims = vec![
        Claim { range: Point::START..Point::at_height(2), content: Content::List(shorts.clone()) },
        Claim { range: Point::at_height(3)..Point::END, content: Content::Print(Print([3; 16])) },
    ];
    let findings = vec![
        Finding::Same,
        Finding::Parts(vec![(Point::START, Print([1; 16])), (Point { height: 2, id: ids[0] }, Print([2; 16]))]),
        Finding::List(shorts.clone()),
        Finding::Compared { here: vec![true, false], more: shorts.clone() },
    ];
    let requests = [
        Request::Root,
        Request::Compare {
            digest: [1; 32],
            heads: Some(ids.clone()),
            give: Some(page(&all)),
            pull: true,
            tell: true,
            most,
        },
        Request::Pull { have: ids.clone(), except: shorts.clone(), width: short, from: 0, until: 0, most },
        Request::Probe { width: short, ids: shorts.clone(), claims, list: 9, most },
        Request::Trade { give: Some(page(&all)), width: short, want: shorts.clone(), most },
    ];
    let known = vec![true, false, true];
    let replies = [
        Reply::Root(page(&[&forge.root])),
        Reply::Same { given: Some(Default::default()) },
        Reply::Differ {
            given: None,
            digest: [1; 32],
            entries: 9,
            heads: Some(ids),
            known: known.clone(),
            first: Some(piece(&all, 3, 4)),
        },
        Reply::Pulled { held: known.clone(), piece: piece(&all, 0, 9) },
        Reply::Probed { width: short, known, count: 9, list: Some(shorts), findings },
        Reply::Traded { given: None, covered: 2, page: Some(page(&all)), digest: [4; 32] },
    ];
    let requests = requests.iter().map(|request| (true, request.to_bytes()));
    requests.chain(replies.iter().map(|reply| (false, reply.to_bytes()))).collect()
}

fn try_all(db: &Database, bytes: Bytes) {
    // Only one form is read, and what is read can be answered.
    if let Some(reply) = Reply::parse(&bytes) {
        assert_eq!(reply.to_bytes(), bytes);
        page_of_reply(&reply).and_then(Page::unpack);
    }
    if let Some(request) = Request::parse(&bytes) {
        assert_eq!(request.to_bytes(), bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let limits = Limits { list: 8, ..Limits::default() };
        let _ = runtime.block_on(answer(db, request, &limits, "garbage"));
    }
}

thread_local! {
    static DB: (tokio::runtime::Runtime, Database) = {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let db = runtime.block_on(async {
                let forge = Forge::new(1);
                let chain = forge.chain(&forge.root, 3, "a");
                forge.peer(&[&chain]).await
            });
        (runtime, db)
    };
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..6) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        DB.with(|(_, db)| try_all(db, bytes.into()));
    }

    #[test]
    fn damaged_messages(which in 0usize..11, at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>(), how in 0u8..3) {
        let (_, message) = messages().swap_remove(which);
        let mut bytes = message.to_vec();
        let length = bytes.len();
        match how {
            0 => bytes[at % length] = byte,
            1 => bytes.truncate(cut % length),
            _ => bytes.push(byte),
        }
        DB.with(|(_, db)| try_all(db, bytes.into()));
    }
}

#[test]
fn messages_come_back() {
    for (is_request, bytes) in messages() {
        let again = match is_request {
            true => Request::parse(&bytes).map(|request| request.to_bytes()),
            false => Reply::parse(&bytes).map(|reply| reply.to_bytes()),
        };
        assert_eq!(again, Some(bytes));
    }
}
