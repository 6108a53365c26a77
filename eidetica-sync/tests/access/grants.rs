//! Grants: what is signed, what is believed, and what is kept.

use eidetica_contract::ErrorKind;
use eidetica_core::Id;
use eidetica_core::auth::Permission;
use eidetica_sync::access::{Claim, Grant, Grants, MAX_CLAIMS, Scope};
use proptest::prelude::*;

use super::kit::*;

fn id(byte: u8) -> Id {
    Id::from_bytes([byte; 32])
}

#[test]
fn a_grant_holds_for_its_user_device_scope_and_serial_alone() {
    let scopes = [Scope::Database(id(7)), Scope::Listing];
    for scope in scopes {
        let claim = Grant::sign(&key(1), public(2), scope, 5).claim().clone();
        let grant = claim.prove(&public(2), &scope).unwrap();
        assert_eq!((grant.user(), grant.device(), grant.scope(), grant.serial()), (&public(1), &public(2), &scope, 5));
        assert!(claim.prove(&public(3), &scope).is_none(), "another device");
        for other in scopes.into_iter().chain([Scope::Database(id(8))]).filter(|other| *other != scope) {
            assert!(claim.prove(&public(2), &other).is_none(), "{other:?}");
        }
        assert!(Claim { user: public(3), ..claim.clone() }.prove(&public(2), &scope).is_none());
        assert!(Claim { serial: 6, ..claim.clone() }.prove(&public(2), &scope).is_none());
        for at in 0..64 {
            let mut forged = claim.clone();
            forged.signature[at] ^= 1;
            assert!(forged.prove(&public(2), &scope).is_none(), "byte {at}");
        }
    }
}

#[test]
fn claims_travel_in_one_form() {
    let claims: Vec<Claim> =
        (1..=4).map(|seed| Grant::sign(&key(seed), public(9), Scope::Listing, 1).claim().clone()).collect();
    let mut bytes = Claim::write_all(&claims);
    assert_eq!(bytes.len(), 1 + 4 * Claim::LEN);
    bytes.extend_from_slice(b"rest");
    let (read, rest) = Claim::read_all(&bytes).unwrap();
    assert_eq!((read.len(), rest), (4, &b"rest"[..]));
    assert!(read.is_sorted_by_key(|claim| claim.user));
    assert!(claims.iter().all(|claim| read.contains(claim)));

    // Twice the same, another order, one too many, one that is cut off.
    let twice = Claim::write_all(&[claims[0].clone(), claims[0].clone()]);
    assert_eq!(twice.len(), 1 + Claim::LEN);
    let one = &twice[1..];
    assert!(Claim::read_all(&[&[2], one, one].concat()).is_none());
    let two = &bytes[1..1 + 2 * Claim::LEN];
    assert!(Claim::read_all(&[&[2], &two[Claim::LEN..], &two[..Claim::LEN]].concat()).is_none());
    assert!(Claim::read_all(&bytes[..4 * Claim::LEN]).is_none());
    assert!(Claim::read_all(&[]).is_none());
    let many: Vec<Claim> =
        (0..20).map(|n| Grant::sign(&nth_key(n), public(9), Scope::Listing, 1).claim().clone()).collect();
    assert_eq!(Claim::read_all(&Claim::write_all(&many)).unwrap().0.len(), MAX_CLAIMS);
    assert!(Claim::read_all(&[&[9], &vec![0; 9 * Claim::LEN][..]].concat()).is_none());
}

proptest! {
    #[test]
    fn hostile_bytes_are_no_claims_or_unproven(bytes in prop::collection::vec(any::<u8>(), 0..1200), count in 0u8..12) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = count;
        }
        if let Some((claims, rest)) = Claim::read_all(&bytes) {
            prop_assert!(claims.len() <= MAX_CLAIMS);
            prop_assert_eq!(Claim::write_all(&claims), &bytes[..bytes.len() - rest.len()]);
            for claim in claims {
                prop_assert!(claim.prove(&public(1), &Scope::Listing).is_none());
            }
        }
    }
}

#[tokio::test]
async fn grants_are_there_after_a_restart_until_they_are_withdrawn() {
    let store = Store::new();
    let engine = store.open().await;
    let grants = Grants::new(engine.clone(), public(2));
    let (one, two) = (Scope::Database(id(1)), Scope::Database(id(2)));
    for (user, scope) in [(1, one), (3, one), (1, two), (1, Scope::Listing)] {
        grants.save(&key(user), scope).await.unwrap();
    }
    engine.close().await.unwrap();

    let grants = Grants::new(store.open().await, public(2));
    let users = |grants: &[Grant]| grants.iter().map(|grant| *grant.user()).collect::<Vec<_>>();
    let mut both = [public(1), public(3)];
    both.sort();
    assert_eq!(users(&grants.of(&id(1)).await.unwrap()), both);
    assert_eq!(users(&grants.of(&id(2)).await.unwrap()), [public(1)]);
    assert_eq!(users(&grants.listing().await.unwrap()), [public(1)]);
    assert!(grants.of(&id(3)).await.unwrap().is_empty());

    assert!(grants.withdraw(&public(1), one).await.unwrap());
    assert!(!grants.withdraw(&public(1), one).await.unwrap());
    assert_eq!(users(&grants.of(&id(1)).await.unwrap()), [public(3)]);
    assert!(grants.has(&public(1), two).await.unwrap() && grants.has(&public(1), Scope::Listing).await.unwrap());
    assert!(!grants.has(&public(1), one).await.unwrap());
}

#[tokio::test]
async fn serials_rise_even_where_the_clock_goes_back() {
    let store = Store::new();
    let grants = Grants::new(store.open().await, public(2));
    let mut last = 0;
    for passed in [0u64, 5, 0, 10] {
        store.clock.pass(passed);
        if passed == 10 {
            store.clock.set(1_000);
        }
        grants.save(&key(1), Scope::Listing).await.unwrap();
        let serial = grants.listing().await.unwrap()[0].serial();
        assert!(serial > last);
        last = serial;
    }
}

#[tokio::test]
async fn two_who_change_one_grant_at_once_do_not_undo_each_other() {
    let store = Store::new();
    let (one, two) = (Grants::new(store.open().await, public(2)), Grants::new(store.open().await, public(2)));
    let engine = store.open().await;
    one.save(&key(1), Scope::Listing).await.unwrap();
    let withdrawal = one.withdrawing(&public(1), Scope::Listing).await.unwrap().unwrap();
    two.save(&key(1), Scope::Listing).await.unwrap();
    assert_eq!(engine.change_locals(vec![withdrawal]).await.unwrap_err().kind(), ErrorKind::Conflict);
    // Many at once: each is done in the end.
    let tasks = (1..=8).map(|seed| {
        let grants = if seed % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move { grants.save(&key(1), Scope::Listing).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert_eq!(one.listing().await.unwrap().len(), 1);
}

#[tokio::test]
async fn damaged_rows_are_reported_and_those_of_another_device_key_are_no_grants() {
    let store = Store::new();
    let engine = store.open().await;
    let grants = Grants::new(engine.clone(), public(2));
    grants.save(&key(1), Scope::Listing).await.unwrap();
    let (name, row) = store.rows("sync/listing/").await.remove(0);
    let other = Grants::new(engine, public(3));
    assert!(other.listing().await.unwrap().is_empty());
    assert!(!other.has(&public(1), Scope::Listing).await.unwrap());

    let whole = grants.listing().await.unwrap();
    for at in 0..row.len() {
        for flip in [1, 0x80] {
            let mut damaged = row.to_vec();
            damaged[at] ^= flip;
            store.put(&name, damaged).await;
            // What is left may be a grant for another device, or of a newer version. A list may say more than is read of it.
            match grants.listing().await {
                Ok(found) => assert!(found.is_empty() || found == whole, "byte {at}"),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NewerFormat), "{error}"),
            }
        }
        store.put(&name, row.slice(..at)).await;
        assert_eq!(grants.listing().await.unwrap_err().kind(), ErrorKind::Corrupted);
    }
    store.put(&name, row).await;
    assert_eq!(grants.listing().await.unwrap().len(), 1);
    store.put(&"sync/listing/nobody".into(), "x").await;
    refused(grants.listing().await, ErrorKind::Corrupted, "damaged");
}

#[tokio::test]
async fn what_is_shown_is_bounded_and_begins_with_what_is_most_likely_to_help() {
    let store = Store::new();
    let engine = store.open().await;
    let grants = Grants::new(engine.clone(), public(2));
    let database = database(&engine, &key(1)).await;
    let id = *database.root_id();
    for n in 0..12 {
        store.clock.pass(1);
        grants.save(&nth_key(n), Scope::Database(id)).await.unwrap();
    }
    let oldest = nth_key(0).public();
    let shown = grants.to_show(&id, None, None).await.unwrap();
    assert!(shown.len() == MAX_CLAIMS && shown[0].user == nth_key(11).public());
    assert!(shown.iter().all(|claim| claim.user != oldest));
    let shown = grants.to_show(&id, None, Some(&oldest)).await.unwrap();
    assert!(shown.len() == MAX_CLAIMS && shown[0].user == oldest && shown[1].user == nth_key(11).public());
    // The database is here, and one of them may read it: that one is not left out. The others may have got a right elsewhere.
    grant(&database, &oldest, Permission::Read).await;
    let shown = grants.to_show(&id, Some(&database), None).await.unwrap();
    assert!(shown.len() == MAX_CLAIMS && shown[0].user == oldest && shown[1].user == nth_key(11).public());
}
