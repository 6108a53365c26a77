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
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let listed = (any::<[u8; 32]>(), ".{0,20}").prop_map(|(id, name)| (Id::from_bytes(id), name));
    prop_oneof![
        Just(Reply::NotServed),
        Just(Reply::Introduce),
        introduction().prop_map(Reply::Introduced),
        body().prop_map(Reply::About),
        vec(held(), 0..5).prop_map(Reply::Changed),
        body().prop_map(Reply::Access),
        vec(listed, 0..5).prop_map(Reply::Databases),
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
