//! Peers that do not keep to the protocol: they cost a bounded amount, and nothing goes wrong.

use std::sync::Mutex;

use async_trait::async_trait;
use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::entry::VerifiedEntry;
use eidetica_core::limits::MAX_HEADER;
use eidetica_core::{Database, Id, Point};
use eidetica_sync::reconcile::{
    Ask, Claim, Content, Finding, Limits, MAX_UNPACKED, MAX_UNPACKED_ONE, Options, Outcome, Page, Piece, Print, Reply,
    Request, Short, Width, answer, exchange,
};

use super::kit::*;

/// The other side as a test wants it to be.
struct Liar<F> {
    say: Mutex<F>,
    asked: Mutex<usize>,
}

impl<F: FnMut(&Request) -> Reply + Send> Liar<F> {
    fn new(say: F) -> Liar<F> {
        Liar { say: Mutex::new(say), asked: Mutex::new(0) }
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[async_trait]
impl<F: FnMut(&Request) -> Reply + Send> Ask for Liar<F> {
    async fn ask(&self, request: Request) -> Result<Reply> {
        *self.asked.lock().unwrap() += 1;
        let reply = (self.say.lock().unwrap())(&request);
        Reply::parse(&reply.to_bytes()).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "unreadable"))
    }

    fn max_reply(&self) -> usize {
        16 << 20
    }

    fn max_request(&self) -> usize {
        16 << 20
    }
}

fn digest(heads: &[Id]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for head in heads {
        hasher.update(head.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Heads that nobody has.
fn elsewhere(request: &Request, heads: Vec<Id>, knows: bool, first: Option<Piece>) -> Reply {
    let Request::Compare { heads: theirs, .. } = request else { panic!("{request:?}") };
    let known = vec![knows; theirs.as_ref().map_or(0, Vec::len)];
    Reply::Differ { given: None, digest: digest(&heads), entries: 9, heads: Some(heads), known, first }
}

fn page(entries: &[&VerifiedEntry]) -> Page {
    Page::pack(entries.iter().copied(), 16 << 20).unwrap().0
}

fn piece(entries: &[&VerifiedEntry], next: u64, until: u64) -> Piece {
    Piece { page: page(entries), next, until, left: u64::MAX, digest: [9; 32] }
}

async fn against<F: FnMut(&Request) -> Reply + Send>(db: &Database, liar: &Liar<F>) -> Result<Outcome> {
    let entries = db.entry_count().await.unwrap();
    let outcome = exchange(db, liar, &Options::default(), &|_| ()).await;
    assert_eq!(db.waiting().await.unwrap(), (0, 0), "nothing waits");
    assert_eq!(db.entry_count().await.unwrap(), entries, "nothing came in");
    outcome
}

fn is_broken(outcome: Result<Outcome>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.context("broken").expect("what is broken").to_owned()
}

async fn victim(length: usize) -> (Forge, Vec<VerifiedEntry>, Database) {
    let forge = Forge::new(1);
    let chain = forge.chain(&forge.root, length, "a");
    let db = forge.peer(&[&chain]).await;
    (forge, chain, db)
}

/// It always has other heads, and never anything else.
#[tokio::test]
async fn endless_rounds() {
    let (_, _, db) = victim(50).await;
    let mut round = 0u8;
    let liar = Liar::new(|request: &Request| match request {
        Request::Compare { .. } => {
            round += 1;
            elsewhere(request, vec![Id::from_bytes([round; 32])], false, None)
        }
        Request::Probe { ids, width, .. } => {
            let known = vec![true; ids.len()];
            Reply::Probed { width: *width, known, count: 0, list: Some(vec![]), findings: vec![] }
        }
        Request::Trade { .. } => panic!("nothing is to be sent"),
        _ => panic!("{request:?}"),
    });
    let outcome = against(&db, &liar).await.unwrap();
    assert!(!outcome.complete);
    assert!(liar.asked() <= 6, "{}", liar.asked());
}

/// It cuts every range anew, at places where nothing lies, for ever.
#[tokio::test]
async fn ranges_without_end() {
    let (_, _, db) = victim(300).await;
    let mut number = 0u8;
    let liar = Liar::new(|request: &Request| match request {
        Request::Compare { .. } => elsewhere(request, vec![Id::of(b"x")], false, None),
        Request::Probe { ids, width, claims, .. } => {
            let mut cut = |claim: &Claim| {
                number = number.wrapping_add(1);
                let Point { height, id } = claim.range.start;
                let mut parts = vec![(claim.range.start, Print([number; 16]))];
                for step in 1..=15u8 {
                    let mut bytes = *id.as_bytes();
                    bytes[31] = bytes[31].saturating_add(step);
                    let point = Point { height, id: Id::from_bytes(bytes) };
                    if point > parts.last().unwrap().0 && point < claim.range.end {
                        parts.push((point, Print([number ^ step; 16])));
                    }
                }
                if parts.len() < 2 { Finding::Same } else { Finding::Parts(parts) }
            };
            let findings = claims.iter().map(&mut cut).collect();
            Reply::Probed { width: *width, known: vec![false; ids.len()], count: u64::MAX, list: None, findings }
        }
        Request::Pull { .. } => panic!("much is here"),
        Request::Trade { give: Some(page), .. } => {
            let count = page.unpack().unwrap().len() as u32;
            let given = eidetica_sync::reconcile::Given { loose: count, ..Default::default() };
            Reply::Traded { given: Some(given), covered: 0, page: None, digest: [0; 32] }
        }
        _ => panic!("{request:?}"),
    });
    let options = Options { list: 0, ..Options::default() };
    let outcome = exchange(&db, &liar, &options, &|_| ()).await;
    assert!(outcome.is_err() || !outcome.unwrap().complete);
    assert!(liar.asked() <= 300, "{}", liar.asked());
}

/// Findings that do not fit what was asked.
#[tokio::test]
async fn findings_that_do_not_fit() {
    let (_, _, db) = victim(300).await;
    type Say = Box<dyn Fn(&Claim) -> Finding + Send + Sync>;
    let odd: Vec<Say> = vec![
        Box::new(|claim| Finding::Parts(vec![(claim.range.start, Print([0; 16]))])),
        Box::new(|claim| Finding::Parts(vec![(claim.range.end, Print([0; 16])), (Point::END, Print([1; 16]))])),
        Box::new(|claim| Finding::Parts(vec![(claim.range.start, Print([0; 16])); 2])),
        Box::new(|_| Finding::Compared { here: vec![true; 77], more: vec![] }),
    ];
    for finding in odd {
        let liar = Liar::new(|request: &Request| match request {
            Request::Compare { .. } => elsewhere(request, vec![Id::of(b"x")], false, None),
            Request::Probe { ids, width, claims, .. } => Reply::Probed {
                width: *width,
                known: vec![false; ids.len()],
                count: 10_000,
                list: None,
                findings: claims.iter().map(&finding).collect(),
            },
            _ => panic!("{request:?}"),
        });
        let options = Options { list: 0, ..Options::default() };
        is_broken(exchange(&db, &liar, &options, &|_| ()).await);
        assert!(liar.asked() <= 3);
    }
}

/// It lists what it does not have.
#[tokio::test]
async fn lists_of_nothing() {
    let (_, _, db) = victim(10).await;
    let liar = Liar::new(|request: &Request| match request {
        Request::Compare { .. } => elsewhere(request, vec![Id::of(b"x")], false, None),
        Request::Probe { ids, width, .. } => {
            let list: Vec<Short> = (0..1000u32).map(|n| Short::of(&Id::of(&n.to_be_bytes()), *width)).collect();
            let (known, findings) = (vec![true; ids.len()], vec![]);
            Reply::Probed { width: *width, known, count: 1000, list: Some(list), findings }
        }
        Request::Trade { .. } => Reply::Traded { given: None, covered: 1, page: None, digest: [0; 32] },
        _ => panic!("{request:?}"),
    });
    is_broken(against(&db, &liar).await);
    assert!(liar.asked() <= 8, "{}", liar.asked());
}

/// Answers to something else, or of another length than was asked for.
#[tokio::test]
async fn answers_to_something_else() {
    let (_, chain, db) = victim(10).await;
    let top = &chain[9];
    let others: Vec<Reply> = vec![
        Reply::Root(page(&[top])),
        Reply::Same { given: Some(Default::default()) },
        Reply::Pulled { held: vec![], piece: piece(&[top], 0, 1) },
        Reply::Probed { width: Width::Short, known: vec![], count: 0, list: None, findings: vec![] },
        Reply::Traded { given: None, covered: 0, page: None, digest: [0; 32] },
        Reply::Differ { given: None, digest: [0; 32], entries: 1, heads: None, known: vec![true; 2], first: None },
        Reply::Differ {
            given: None,
            digest: [0; 32],
            entries: 1,
            heads: Some(vec![Id::of(b"")]),
            known: vec![true],
            first: None,
        },
        Reply::Differ {
            given: None,
            digest: [0; 32],
            entries: 1,
            heads: None,
            known: vec![false],
            first: Some(piece(&[top], 0, 1)),
        },
    ];
    for other in others {
        let liar = Liar::new(|_: &Request| other.clone());
        is_broken(against(&db, &liar).await);
        assert_eq!(liar.asked(), 1);
    }
}

/// Pages in the wrong order: what could only wait is left aside.
#[tokio::test]
async fn pages_out_of_order() {
    let (forge, chain, db) = victim(10).await;
    let more = forge.chain(&chain[9], 40, "more");
    let liar = Liar::new(|request: &Request| {
        let at =
            |number: u64| piece(&[&more[38 - number as usize * 2], &more[39 - number as usize * 2]], number + 1, 99);
        match request {
            Request::Compare { .. } => elsewhere(request, vec![more[39].id()], true, Some(at(0))),
            Request::Pull { from, .. } => Reply::Pulled { held: vec![], piece: at(*from) },
            _ => panic!("{request:?}"),
        }
    });
    is_broken(against(&db, &liar).await);
    assert!(liar.asked() <= 8, "{}", liar.asked());
}

/// The same page for ever, or pages that are here already, or empty ones, or one whose successor lies before it.
#[tokio::test]
async fn pages_without_end() {
    let (_, chain, db) = victim(10).await;
    let says: Vec<Box<dyn Fn(u64) -> Piece + Send + Sync>> = vec![
        Box::new(|from| piece(&[&chain[3]], from + 1, u64::MAX)),
        Box::new(|from| piece(&[], from + 1, u64::MAX)),
        Box::new(|_| piece(&[&chain[3]], 1, u64::MAX)),
        Box::new(|from| piece(&[&chain[3]], from + 1, 90 + from)),
        Box::new(|_| piece(&[&chain[3]], 100, 100)),
    ];
    for say in says {
        let liar = Liar::new(|request: &Request| match request {
            Request::Compare { .. } => elsewhere(request, vec![Id::of(b"x")], true, Some(say(0))),
            Request::Pull { from, .. } => Reply::Pulled { held: vec![], piece: say(*from) },
            _ => panic!("{request:?}"),
        });
        is_broken(against(&db, &liar).await);
        assert!(liar.asked() <= 8, "{}", liar.asked());
    }
}

/// Entries of another database, and entries with another signature, are refused, and named.
#[tokio::test]
async fn foreign_and_forged_entries() {
    let (forge, chain, db) = victim(10).await;
    let foreign = Forge::new(2);
    let others = foreign.chain(&foreign.root, 30, "b");
    let liar = Liar::new(|request: &Request| {
        // The first stands on nothing that is here; the root of the other database stands on nothing at all.
        let at = |number: u64| piece(&[&foreign.root, &others[number as usize]], number + 1, 99);
        match request {
            Request::Compare { .. } => elsewhere(request, vec![Id::of(b"x")], true, Some(at(0))),
            Request::Pull { from, .. } => Reply::Pulled { held: vec![], piece: at(*from) },
            _ => panic!("{request:?}"),
        }
    });
    let outcome = against(&db, &liar).await.unwrap();
    assert!(!outcome.complete && outcome.refused >= 2 && outcome.refusals[0].0 == foreign.root.id());
    assert!(liar.asked() <= 8);

    // Somebody without a right writes on top.
    let stranger = Forge { root: forge.root.clone(), key: foreign.key.clone() };
    let forged = stranger.chain(&chain[9], 3, "c");
    let all: Vec<&VerifiedEntry> = forged.iter().collect();
    let liar = Liar::new(|request: &Request| match request {
        Request::Compare { .. } => elsewhere(request, vec![forged[2].id()], true, Some(piece(&all, 0, 99))),
        _ => panic!("{request:?}"),
    });
    let outcome = against(&db, &liar).await.unwrap();
    assert!(!outcome.complete);
    assert_eq!((outcome.refused, outcome.refusals[0].0), (3, forged[0].id()));
    assert!(outcome.refusals[0].1.contains("right"), "{:?}", outcome.refusals);
}

fn page_of_bytes(compressed: bool, announced: usize, data: &[u8]) -> Page {
    let mut bytes = vec![0, u8::from(compressed)];
    bytes.extend_from_slice(&(announced as u32).to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
    bytes.extend_from_slice(data);
    let Some(Reply::Root(page)) = Reply::parse(&bytes.into()) else { panic!("the frame is right") };
    page
}

/// Pages that are more, or less, than they say.
#[tokio::test]
async fn zip_bombs() {
    let zeros = |length: usize| zstd::bulk::compress(&vec![0; length], 3).unwrap();
    let bomb = zeros(256 << 20);
    assert!(bomb.len() < 32 << 10);
    for announced in [0, 1, 5, 1000, MAX_UNPACKED, MAX_UNPACKED_ONE, MAX_UNPACKED_ONE + 1, 256 << 20, u32::MAX as usize]
    {
        assert_eq!(page_of_bytes(true, announced, &bomb).unpack(), None, "{announced}");
        assert_eq!(page_of_bytes(true, announced, b"not compressed at all").unpack(), None);
        if announced > 0 {
            assert_eq!(page_of_bytes(false, announced, &[]).unpack(), None);
        }
    }
    assert_eq!(page_of_bytes(true, 100, &zeros(99)).unpack(), None, "less than announced");
    // One entry that is as long as can be, and one that is longer.
    for (longer, entries) in [(0, Some(1)), (1, None)] {
        let mut one = vec![b'x'; MAX_UNPACKED_ONE + longer];
        // A header of one byte, and one body.
        one[..10].copy_from_slice(&[0, 0, 0, 1, b'x', 1, 0, 0, 0, 0]);
        one[6..10].copy_from_slice(&((MAX_UNPACKED_ONE + longer - 10) as u32).to_be_bytes());
        let packed = zstd::bulk::compress(&one, 3).unwrap();
        assert_eq!(page_of_bytes(true, one.len(), &packed).unpack().map(|all| all.len()), entries);
    }
    // A header as long as one may be, and one that is longer.
    for (length, entries) in [(MAX_HEADER, Some(1)), (MAX_HEADER + 1, None)] {
        let one = [&(length as u32).to_be_bytes()[..], &vec![b'x'; length], &[0]].concat();
        assert_eq!(page_of_bytes(false, one.len(), &one).unpack().map(|all| all.len()), entries);
    }
    // Very many entries of a few bytes: more than a page may have.
    let tiny: Vec<u8> = [0u8, 0, 0, 1, 7, 0].repeat(16_385);
    assert_eq!(page_of_bytes(false, tiny.len(), &tiny).unpack(), None);
    assert_eq!(page_of_bytes(false, tiny.len() - 6, &tiny[6..]).unpack().map(|all| all.len()), Some(16_384));
    // Two entries where only one may be so long.
    let forge = Forge::new(1);
    let long: Vec<VerifiedEntry> = (0..2).map(|n| forge.sized(&[&forge.root], &format!("{n}"), 3 << 20)).collect();
    let (alone, count) = Page::pack(long.iter(), 16 << 20).unwrap();
    assert_eq!((count, alone.unpack().map(|all| all.len())), (1, Some(1)));
    let Some(one) = alone.unpack() else { panic!() };
    let mut bytes = Vec::new();
    for entry in [&one[0], &one[0]] {
        bytes.extend_from_slice(&(entry.header.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&entry.header);
        bytes.push(1);
        let body = entry.bodies[0].as_ref().unwrap();
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    assert_eq!(page_of_bytes(false, bytes.len(), &bytes).unpack(), None);

    let (_, _, db) = victim(10).await;
    let liar = Liar::new(|request: &Request| {
        let page = page_of_bytes(true, MAX_UNPACKED, &bomb);
        elsewhere(request, vec![Id::of(b"x")], true, Some(Piece { page, ..piece(&[], 0, 9) }))
    });
    is_broken(against(&db, &liar).await);
}

/// The asking side may lie as well.
#[tokio::test]
async fn requests_that_lie() {
    let (forge, chain, db) = victim(10).await;
    let loose = forge.chain(&forge.entry(&[&chain[9]], "missing"), 5, "loose");
    let entries: Vec<&VerifiedEntry> = loose.iter().collect();
    let limits = Limits::default();
    let (digest, most) = ([0; 32], 1 << 20);
    let compare = |give| Request::Compare { digest, heads: None, give: Some(give), pull: true, tell: true, most };
    for request in [
        compare(page(&entries)),
        Request::Trade { give: Some(page(&entries)), width: Width::Short, want: vec![], most },
    ] {
        assert!(request.gives());
        let (Reply::Differ { given, .. } | Reply::Traded { given, .. }) =
            answer(&db, request, &limits, "liar").await.unwrap()
        else {
            panic!()
        };
        assert_eq!(given.unwrap().loose, 5);
        assert_eq!(db.waiting().await.unwrap(), (0, 0));
    }
    let error = answer(&db, compare(page_of_bytes(false, 3, &[1, 2, 3])), &limits, "liar").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    let pull = |have, from, until, most| Request::Pull { have, except: vec![], width: Width::Short, from, until, most };
    let unknown = pull(vec![Id::of(b"x")], 0, 0, most);
    assert_eq!(answer(&db, unknown, &limits, "liar").await.unwrap_err().kind(), ErrorKind::NotFound);
    for (from, until) in [(u64::MAX, 0), (5, 3), (u64::MAX, u64::MAX), (0, u64::MAX), (11, 12)] {
        let Reply::Pulled { piece, .. } = answer(&db, pull(vec![], from, until, 0), &limits, "liar").await.unwrap()
        else {
            panic!()
        };
        assert!(piece.next <= 11, "{piece:?}");
    }
    // Everything is wanted a thousand times.
    let want = vec![Short::of(&chain[3].id(), Width::Short); 4096];
    let request = Request::Trade { give: None, width: Width::Short, want, most };
    let reply = answer(&db, request, &Limits { page: 2000, ..limits }, "liar").await.unwrap();
    assert!(reply.to_bytes().len() < 4000);
    // Ranges where nothing can be.
    let claim = |start, end, content| Claim { range: start..end, content };
    let far = Point { height: u64::MAX, id: Id::from_bytes([255; 32]) };
    let claims = vec![
        claim(Point::START, Point::at_height(3), Content::List(vec![])),
        claim(Point::at_height(1 << 60), far, Content::Print(Print([1; 16]))),
    ];
    let request = Request::Probe { width: Width::Whole, ids: vec![], claims, list: u16::MAX, most };
    let read = Request::parse(&request.to_bytes());
    assert_eq!(read.as_ref(), Some(&request));
    let Reply::Probed { list: Some(list), .. } = answer(&db, request, &limits, "liar").await.unwrap() else { panic!() };
    assert_eq!(list.len(), 11);
    let overlapping = |claims| Request::Probe { width: Width::Short, ids: vec![], claims, list: 0, most }.to_bytes();
    let (low, high) = (Point::at_height(1), Point::at_height(4));
    for claims in [
        vec![claim(high, low, Content::List(vec![]))],
        vec![claim(low, low, Content::List(vec![]))],
        vec![claim(low, high, Content::List(vec![])), claim(low, Point::END, Content::List(vec![]))],
    ] {
        assert_eq!(Request::parse(&overlapping(claims)), None);
    }
}
