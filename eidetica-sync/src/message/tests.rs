use eidetica_core::SecretKey;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::access::{Grant, Scope};

fn tag() -> impl Strategy<Value = Tag> {
    any::<[u8; 16]>().prop_map(Tag)
}

/// Claims in the order in which they are written.
fn claims() -> impl Strategy<Value = Vec<Claim>> {
    vec((any::<[u8; 32]>(), any::<u64>()), 0..3).prop_map(|claims| {
        let mut bytes = std::collections::BTreeMap::new();
        for (seed, serial) in claims {
            let user = SecretKey::from_seed(&seed);
            let grant = Grant::sign(&user, user.public(), Scope::Listing, serial);
            bytes.insert(user.public(), grant.claim().clone());
        }
        bytes.into_values().collect()
    })
}

fn introduction() -> impl Strategy<Value = Introduction> {
    let address = ("[a-z]{1,8}", ".{0,40}").prop_map(|(scheme, text)| Address::new(scheme, text));
    (vec(address, 0..=MAX_ADDRESSES), vec((tag(), claims()), 0..5), claims())
        .prop_map(|(addresses, databases, listing)| Introduction { addresses, databases, listing })
}

fn held() -> impl Strategy<Value = Held> {
    (tag(), any::<[u8; 32]>()).prop_map(|(database, digest)| Held { database, digest })
}

fn said() -> impl Strategy<Value = Said> {
    let claim = claims().prop_map(|claims| claims.into_iter().next());
    let rest = (any::<u64>(), 0..=60u16, 1..=4u8, vec(any::<u8>(), 0..50), any::<u8>());
    (tag(), claim, any::<[u8; 32]>(), rest).prop_map(
        |(database, claim, seed, (serial, lifetime, reach, payload, hops))| {
            let device = SecretKey::from_seed(&seed);
            let (signature, payload) = ([0; 64], payload.into());
            let blank = Statement { device: device.public(), claim, serial, lifetime, reach, payload, signature };
            Said { database, hops, statement: blank.sign(&device, &Id::of(&database.0)) }
        },
    )
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<u64>(), any::<u64>()).prop_map(|(run, number)| Mark { run, number })
}

fn body() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..50).prop_map(Bytes::from)
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        introduction().prop_map(Request::Introduce),
        (tag(), body()).prop_map(|(database, body)| Request::About { database, body }),
        (any::<u32>(), vec(held(), 0..5)).prop_map(|(millis, databases)| Request::Watch { millis, databases }),
        body().prop_map(Request::Access),
        Just(Request::Discover),
        (tag(), body()).prop_map(|(database, root)| Request::Offer { database, root }),
        vec(tag(), 0..5).prop_map(Request::Ended),
        vec(said(), 0..5).prop_map(Request::Tell),
        (any::<u32>(), mark(), vec(tag(), 0..5)).prop_map(|(millis, after, databases)| Request::Listen {
            millis,
            after,
            databases
        }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let listed = (any::<[u8; 32]>(), ".{0,20}").prop_map(|(id, name)| (Id::from_bytes(id), name));
    prop_oneof![
        Just(Reply::NotServed),
        Just(Reply::Introduce),
        Just(Reply::Lacking),
        Just(Reply::Removed),
        Just(Reply::Taken),
        introduction().prop_map(Reply::Introduced),
        body().prop_map(Reply::About),
        vec(held(), 0..5).prop_map(Reply::Changed),
        body().prop_map(Reply::Access),
        vec(listed, 0..5).prop_map(Reply::Databases),
        (mark(), vec(said(), 0..5)).prop_map(|(upto, said)| Reply::Heard { upto, said }),
    ]
}

proptest! {
    #[test]
    fn reading_gives_back_what_was_written(request in request(), reply in reply()) {
        prop_assert_eq!(Request::parse(&request.to_bytes()), Some(request));
        prop_assert_eq!(Reply::parse(&reply.to_bytes()), Some(reply));
    }

    #[test]
    fn what_is_read_is_written_alike(bytes in vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        if let Some(request) = Request::parse(&bytes) {
            prop_assert_eq!(request.to_bytes(), bytes.clone());
        }
        if let Some(reply) = Reply::parse(&bytes) {
            prop_assert_eq!(reply.to_bytes(), bytes);
        }
    }

    #[test]
    fn what_is_cut_off_or_longer_is_no_introduction(introduction in introduction(), cut in 1..40_usize) {
        let bytes = Request::Introduce(introduction).to_bytes();
        prop_assert_eq!(Request::parse(&bytes.slice(..bytes.len().saturating_sub(cut))), None);
        let longer = [&bytes[..], b"x"].concat();
        prop_assert_eq!(Request::parse(&longer.into()), None);
    }
}

#[test]
fn too_many_are_none() {
    let databases = vec![Held { database: Tag([1; 16]), digest: [2; 32] }; MAX_DATABASES + 1];
    assert_eq!(Request::parse(&Request::Watch { millis: 0, databases }.to_bytes()), None);
    let addresses = vec![Address::new("memory", "x"); MAX_ADDRESSES + 1];
    let introduction = Introduction { addresses, ..Introduction::default() };
    assert_eq!(Request::parse(&Request::Introduce(introduction).to_bytes()), None);
}

#[test]
fn tags_differ_by_database_peer_and_direction() {
    use eidetica_contract::PublicKey;

    let device = |byte| PublicKey::from_bytes([byte; 32]);
    let key = TagKey::new(&device(1), &device(2));
    let (one, other) = (Id::of(b"one"), Id::of(b"other"));
    assert_eq!(key.tag(&one), TagKey::new(&device(1), &device(2)).tag(&one));
    assert_ne!(key.tag(&one), key.tag(&other));
    assert_ne!(key.tag(&one), TagKey::new(&device(2), &device(1)).tag(&one));
    assert_ne!(key.tag(&one), TagKey::new(&device(1), &device(3)).tag(&one));
}

mod vectors {
    //! `docs/spec/vectors/node.json`: what the specification states, this program does.

    use std::collections::BTreeMap;

    use super::*;

    fn path() -> std::path::PathBuf {
        std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/spec/vectors/node.json")
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// One message of each kind, by what it is.
    fn messages() -> BTreeMap<&'static str, String> {
        let key = |byte| SecretKey::from_seed(&[byte; 32]);
        let (caller, answerer, user) = (key(1).public(), key(2).public(), key(3));
        let database = Id::of(b"a database");
        let tags = TagKey::new(&caller, &answerer);
        let database_tag = tags.tag(&database);
        let grant = Grant::sign(&user, caller, Scope::Database(database), 7);
        let listing = Grant::sign(&user, caller, Scope::Listing, 8);
        let introduction = Introduction {
            addresses: vec![Address::http("127.0.0.1:8080")],
            databases: vec![(database_tag, vec![grant.claim().clone()]), (tags.tag(&Id::of(b"another")), Vec::new())],
            listing: vec![listing.claim().clone()],
        };
        let held = Held { database: database_tag, digest: [5; 32] };
        let statement = Statement {
            device: caller,
            claim: Some(grant.claim().clone()),
            serial: 9,
            lifetime: 20,
            reach: 2,
            payload: Bytes::from_static(b"here"),
            signature: [0; 64],
        };
        let said = Said { database: database_tag, hops: 1, statement: statement.sign(&key(1), &database) };
        let mark = Mark { run: 3, number: 4 };
        let listen = Request::Listen { millis: 25_000, after: mark, databases: vec![database_tag] };
        let offer = Request::Offer { database: database_tag, root: Bytes::from_static(b"root") };
        let about = Request::About { database: database_tag, body: Bytes::from_static(b"body") };
        BTreeMap::from([
            ("tag of BLAKE3(\"a database\"), devices of seeds 01… and 02…", hex(&database_tag.0)),
            ("request: introduction", hex(&Request::Introduce(introduction.clone()).to_bytes())),
            ("request: about a database, body \"body\"", hex(&about.to_bytes())),
            ("request: watch for 25 s", hex(&Request::Watch { millis: 25_000, databases: vec![held] }.to_bytes())),
            ("request: access, body \"body\"", hex(&Request::Access(Bytes::from_static(b"body")).to_bytes())),
            ("request: discover", hex(&Request::Discover.to_bytes())),
            ("request: offer, root \"root\"", hex(&offer.to_bytes())),
            ("request: ended", hex(&Request::Ended(vec![database_tag]).to_bytes())),
            ("request: tell, payload \"here\"", hex(&Request::Tell(vec![said.clone()]).to_bytes())),
            ("request: listen for 25 s", hex(&listen.to_bytes())),
            ("reply: heard, payload \"here\"", hex(&Reply::Heard { upto: mark, said: vec![said] }.to_bytes())),
            ("reply: lacking", hex(&Reply::Lacking.to_bytes())),
            ("reply: removed", hex(&Reply::Removed.to_bytes())),
            ("reply: taken", hex(&Reply::Taken.to_bytes())),
            ("reply: not served", hex(&Reply::NotServed.to_bytes())),
            ("reply: introduce first", hex(&Reply::Introduce.to_bytes())),
            ("reply: introduction", hex(&Reply::Introduced(introduction).to_bytes())),
            ("reply: about a database, body \"body\"", hex(&Reply::About(Bytes::from_static(b"body")).to_bytes())),
            ("reply: changed", hex(&Reply::Changed(vec![held]).to_bytes())),
            ("reply: access, body \"body\"", hex(&Reply::Access(Bytes::from_static(b"body")).to_bytes())),
            ("reply: databases", hex(&Reply::Databases(vec![(database, "notes".to_owned())]).to_bytes())),
        ])
    }

    #[test]
    fn the_messages_of_the_specification() {
        let text = std::fs::read_to_string(path()).unwrap();
        let stated: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        let made: BTreeMap<String, String> = messages().into_iter().map(|(name, hex)| (name.to_owned(), hex)).collect();
        assert_eq!(stated, made);
    }

    #[test]
    #[ignore = "writes the vectors, when the protocol is meant to change"]
    fn regenerate() {
        std::fs::write(path(), serde_json::to_string_pretty(&messages()).unwrap() + "\n").unwrap();
    }
}
