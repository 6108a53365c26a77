//! Bytes that are no entry: refused with the reason, and nothing of them stays.

use bytes::Bytes;
use eidetica::core::limits::*;
use eidetica::entry::{Body, Header, Origin, RawEntry, Rejected, StoreDelta, VerifiedEntry};
use eidetica::{Database, Id, Outcome, Parked, Refused, Time};

use super::kit::{Forge, check, hand_in, set};

/// What the database answers to a header with these bytes. Whatever it is, nothing may stay.
async fn answer(database: &Database, header: impl Into<Bytes>, bodies: Vec<Body>) -> Outcome {
    let before = (database.entry_count().await.unwrap(), database.get_tips().await.unwrap());
    let outcome = hand_in(database, RawEntry { header: header.into(), bodies }).await;
    assert_eq!((database.entry_count().await.unwrap(), database.get_tips().await.unwrap()), before, "{outcome:?}");
    assert_eq!(database.waiting().await.unwrap(), (0, 0), "{outcome:?}");
    outcome
}

fn malformed(rejected: Rejected) -> Outcome {
    Outcome::Refused(Refused::Malformed(rejected))
}

fn sound() -> (Forge, VerifiedEntry) {
    let forge = Forge::new(1);
    let entry = forge.entry(&[&forge.root], "key", "value");
    (forge, entry)
}

#[tokio::test]
async fn a_truncated_header_is_refused_at_every_length() {
    let (forge, entry) = sound();
    let (_instance, database) = forge.database().await;
    for length in 0..entry.header_bytes().len() {
        let outcome = answer(&database, entry.header_bytes().slice(..length), entry.bodies().to_vec()).await;
        assert_eq!(outcome, malformed(Rejected::NotCanonical), "the first {length} bytes");
    }
    assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_flipped_bit_is_refused_at_every_place() {
    let (forge, entry) = sound();
    let (_instance, database) = forge.database().await;
    for place in 0..entry.header_bytes().len() {
        for bit in 0..8 {
            let mut bytes = entry.header_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            match answer(&database, bytes, entry.bodies().to_vec()).await {
                Outcome::Refused(Refused::Malformed(_)) => {}
                Outcome::Parked(Parked::NewerVersion(_)) if place == 1 => {}
                other => panic!("bit {bit} of byte {place}: {other:?}"),
            }
        }
    }
    assert_eq!(hand_in(&database, entry.to_raw()).await, Outcome::Accepted);
    check(&database).await;
}

/// The signature of another entry of the same author, of another key, of nobody; and the key of somebody else.
#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let (forge, entry) = sound();
    let (_instance, database) = forge.database().await;
    let other = forge.entry(&[&forge.root], "another", "value");
    let stranger = Forge { key: super::kit::key(9), ..forge.clone() };
    let by_stranger = stranger.entry(&[&forge.root], "key", "value");
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = entry.header().clone();
        change(&mut header);
        header.to_bytes()
    };
    let wrong = [
        with(&|header| header.signature = other.header().signature),
        with(&|header| header.signature = by_stranger.header().signature),
        with(&|header| header.signature = [0; 64]),
        with(&|header| header.author = stranger.key.public()),
        // Points of small order, and one that is not on the curve: a lax rule would take a signature for every message.
        with(&|header| header.author = eidetica::PublicKey::from_bytes([0; 32])),
        with(&|header| {
            let mut one = [0; 32];
            one[0] = 1;
            header.author = eidetica::PublicKey::from_bytes(one);
            header.signature = [0; 64];
            header.signature[0] = 1;
        }),
        with(&|header| header.author = eidetica::PublicKey::from_bytes([2; 32])),
    ];
    for header in wrong {
        assert_eq!(answer(&database, header, entry.bodies().to_vec()).await, malformed(Rejected::BadSignature));
    }
}

/// One meaning, other bytes: each is a different id, so only one form may exist.
#[tokio::test]
async fn other_encodings_of_a_sound_header_are_refused() {
    let (forge, entry) = sound();
    let (_instance, database) = forge.database().await;
    let bytes = entry.header_bytes().to_vec();
    assert_eq!(bytes[..3], [0x88, FORMAT_VERSION, 0x58], "a list of eight, the version, the bytes of an id");
    // Behind list and version: the id (2 + 32), the list of one parent (1 + 2 + 32), and then the height, 1.
    let height = 2 + 34 + 35;
    assert_eq!(bytes[height], 1);
    let replace = |at: usize, length: usize, by: &[u8]| [&bytes[..at], by, &bytes[at + length..]].concat();
    let forms = [
        ("a long length of a list", replace(0, 1, &[0x98, 8])),
        ("a longer length of a list", replace(0, 1, &[0x9b, 0, 0, 0, 0, 0, 0, 0, 8])),
        ("a list without a length", [&[0x9f], &bytes[1..], &[0xff]].concat()),
        ("a long number", replace(height, 1, &[0x18, 1])),
        ("a longer number", replace(height, 1, &[0x1b, 0, 0, 0, 0, 0, 0, 0, 1])),
        ("a number as a float", replace(height, 1, &[0xf9, 0x3c, 0x00])),
        ("a long version", replace(1, 1, &[0x18, FORMAT_VERSION])),
        ("a long length of bytes", replace(2, 2, &[0x59, 0, 32])),
        ("bytes in pieces", replace(2, 34, &[&[0x5f][..], &bytes[2..36], &[0xff]].concat())),
        ("text for bytes", replace(2, 1, &[0x78])),
        ("a tag", [&[0xd8, 0x2a], &bytes[..]].concat()),
        ("a trailing byte", [&bytes[..], &[0]].concat()),
        ("trailing bytes", [&bytes[..], &bytes[..]].concat()),
        ("an older version", replace(1, 1, &[0])),
        ("a negative height", replace(height, 1, &[0x20])),
        ("one element more", [&[0x89], &bytes[1..], &[0xf6]].concat()),
        ("a list of endless length", vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("endless parents", replace(36, 1, &[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    ];
    for (name, form) in forms {
        let outcome = answer(&database, form, entry.bodies().to_vec()).await;
        assert_eq!(outcome, malformed(Rejected::NotCanonical), "{name}");
    }
    let nested = vec![0x81; MAX_HEADER];
    assert_eq!(answer(&database, nested, vec![]).await, malformed(Rejected::NotCanonical));
}

#[tokio::test]
async fn a_newer_version_waits_for_a_newer_program() {
    let (forge, entry) = sound();
    let (_instance, database) = forge.database().await;
    let mut newer = entry.header_bytes().to_vec();
    newer[1] = FORMAT_VERSION + 1;
    assert_eq!(answer(&database, newer, vec![]).await, Outcome::Parked(Parked::NewerVersion(2)));
    // What else the newer format holds is not for us to judge.
    let strange = vec![0x83, 0x18, 200, 0xf6, 0xa0];
    assert_eq!(answer(&database, strange, vec![]).await, Outcome::Parked(Parked::NewerVersion(200)));
}

/// Every limit of the format, one beyond it. The limits are checked before the signature, so that the reason is theirs.
#[tokio::test]
async fn what_is_over_a_limit_is_refused() {
    let (forge, entry) = sound();
    let (_instance, database) = forge.database().await;
    let store = |name: &str, kind: &str| StoreDelta { name: name.into(), kind: kind.into(), length: 0, hash: [0; 32] };
    let ids = |count: u16| (0..count).map(|n| Id::of(&n.to_be_bytes())).collect::<std::collections::BTreeSet<_>>();
    let header = |change: &dyn Fn(&mut Header)| {
        let mut header = entry.header().clone();
        change(&mut header);
        header.to_bytes()
    };
    let too_many: Vec<_> = (0..=MAX_STORES).map(|n| store(&format!("{n:04}"), "doc")).collect();
    let lengths = |last: u32| {
        let mut stores = [store("a", "doc"), store("b", "doc")];
        (stores[0].length, stores[1].length) = (MAX_BODIES as u32, last);
        stores.to_vec()
    };
    let over = [
        header(&|h| h.parents = ids(MAX_PARENTS as u16 + 1).into_iter().collect()),
        header(&|h| h.parents = vec![h.parents[0], h.parents[0]]),
        header(&|h| h.parents = ids(2).into_iter().rev().collect()),
        header(&|h| h.stores = too_many.clone()),
        header(&|h| h.stores = vec![store(&"n".repeat(MAX_STORE_NAME + 1), "doc")]),
        header(&|h| h.stores = vec![store("", "doc")]),
        header(&|h| h.stores = vec![store("name", &"k".repeat(MAX_KIND_NAME + 1))]),
        header(&|h| h.stores = vec![store("name", "")]),
        header(&|h| h.stores = vec![store("b", "doc"), store("a", "doc")]),
        header(&|h| h.stores = vec![store("a", "doc"), store("a", "doc")]),
        header(&|h| h.stores = lengths(1)),
        header(&|h| h.stores = lengths(u32::MAX)),
        header(&|h| h.stores = vec![store("_settings", "doc")]),
        header(&|h| h.stores = vec![store("notes", "settings")]),
        header(&|h| h.height = MAX_HEIGHT + 1),
        header(&|h| h.height = 0),
    ];
    let mut reasons = std::collections::BTreeSet::new();
    for (number, bytes) in over.into_iter().enumerate() {
        match answer(&database, bytes, vec![]).await {
            Outcome::Refused(Refused::Malformed(Rejected::Limit(reason))) => drop(reasons.insert(reason)),
            other => panic!("case {number}: {other:?}"),
        }
    }
    assert_eq!(reasons.len(), 10, "each rule has its own words: {reasons:#?}");
    let root = header(&|h| {
        h.origin = Origin::Root { nonce: [1; 16] };
        h.parents.clear();
    });
    assert!(matches!(answer(&database, root, vec![]).await, Outcome::Refused(Refused::Malformed(Rejected::Limit(_)))));
    // The version comes first, since a newer one may have other limits.
    let mut long = entry.header_bytes().to_vec();
    long.resize(MAX_HEADER, 0);
    assert_eq!(answer(&database, long.clone(), vec![]).await, malformed(Rejected::NotCanonical), "not by its length");
    long.push(0);
    assert_eq!(answer(&database, long, vec![]).await, malformed(Rejected::TooLong));
    let surplus = vec![entry.bodies()[0].clone(), None];
    assert_eq!(answer(&database, entry.header_bytes().clone(), surplus).await, malformed(Rejected::SurplusBodies));
}

/// What is exactly at the limits comes in.
#[tokio::test]
async fn what_is_at_the_limits_is_accepted() {
    let forge = Forge::new(1);
    let (_instance, database) = forge.database().await;
    let name = |n: usize| format!("{n:0width$}", width = MAX_STORE_NAME);
    let deltas: Vec<_> = (0..MAX_STORES).map(|n| set(&name(n), "k", 1i64)).collect();
    let wide = forge.sign(forge.header(&[&forge.root]), deltas);
    assert_eq!(hand_in(&database, wide.to_raw()).await, Outcome::Accepted);

    let siblings: Vec<_> = (0..MAX_PARENTS as i64).map(|n| forge.entry(&[&forge.root], "k", n)).collect();
    super::kit::hand_in_all(&database, &siblings).await;
    let merge = forge.entry(&siblings.iter().collect::<Vec<_>>(), "k", "merged");
    assert_eq!(hand_in(&database, merge.to_raw()).await, Outcome::Accepted);

    // No header that keeps the other limits comes near the one of its length: with the most parents, the most stores, and the
    // longest names of both it is not half as long.
    let kind = "k".repeat(MAX_KIND_NAME);
    let stores = (0..MAX_STORES).map(|n| super::kit::put(&name(n), &kind, "key", b"value")).collect();
    let longest = forge.sign(forge.header(&siblings.iter().collect::<Vec<_>>()), stores);
    assert!((MAX_HEADER / 3..MAX_HEADER / 2).contains(&longest.header_bytes().len()));
    assert_eq!(hand_in(&database, longest.to_raw()).await, Outcome::Accepted);

    let body = |bytes: usize| super::kit::put("big", &kind, "key", &vec![7; bytes]);
    let framing = body(1 << 20).2.len() - (1 << 20);
    let big = forge.sign(forge.header(&[&merge]), vec![body(MAX_BODIES - framing)]);
    assert_eq!(big.header().stores[0].length as usize, MAX_BODIES);
    assert_eq!(hand_in(&database, big.to_raw()).await, Outcome::Accepted);

    let mut late = forge.header(&[&big]);
    late.time = Time::from_number(late.time.number() + 1000);
    let late = forge.sign(late, vec![set("notes", "k", "late")]);
    assert_eq!(hand_in(&database, late.to_raw()).await, Outcome::Accepted);
    check(&database).await;
}
