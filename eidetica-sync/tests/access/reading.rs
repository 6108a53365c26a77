//! Who may read now.

use eidetica_contract::PublicKey;
use eidetica_core::auth::{Permission, Right};
use eidetica_core::{Database, Engine, Id};
use eidetica_sync::access::{Claim, Grant, Scope, Shown, may_list, may_read, was_removed};

use super::kit::*;

const DEVICE: u8 = 50;
const USER: u8 = 51;

async fn here() -> (Engine, Database, Id) {
    let engine = Store::new().open().await;
    let database = database(&engine, &key(1)).await;
    let id = *database.root_id();
    (engine, database, id)
}

fn claim(user: u8, device: u8, scope: Scope) -> Claim {
    Grant::sign(&key(user), public(device), scope, 1).claim().clone()
}

fn shown(id: Id, claims: Vec<Claim>) -> Shown {
    Shown::new(public(DEVICE), Scope::Database(id), claims)
}

async fn as_whom(database: &Database, shown: &Shown) -> Option<(PublicKey, Right)> {
    may_read(database, shown).await.unwrap().map(|reader| (reader.key, reader.right))
}

#[tokio::test]
async fn a_grant_is_worth_what_its_user_may_do_now() {
    let (_engine, database, id) = here().await;
    let shown = shown(id, vec![claim(USER, DEVICE, Scope::Database(id))]);
    assert_eq!(as_whom(&database, &shown).await, None);
    for (permission, right) in [(Permission::Read, Right::READ), (Permission::Write, Right::WRITE)] {
        grant(&database, &public(USER), permission).await;
        assert_eq!(as_whom(&database, &shown).await, Some((public(USER), right)));
    }
    revoke(&database, &public(USER)).await;
    assert_eq!(as_whom(&database, &shown).await, None);
    grant(&database, &public(USER), Permission::Read).await;
    assert_eq!(as_whom(&database, &shown).await, Some((public(USER), Right::READ)));
}

#[tokio::test]
async fn nobody_elses_grant_lets_a_caller_in() {
    let (_engine, database, id) = here().await;
    grant(&database, &public(USER), Permission::Write).await;
    let mut forged = claim(USER, DEVICE, Scope::Database(id));
    forged.signature[3] ^= 1;
    let other_user = Claim { user: public(USER), ..claim(USER + 1, DEVICE, Scope::Database(id)) };
    let wrong = [
        forged,
        other_user,
        claim(USER, DEVICE + 1, Scope::Database(id)),
        claim(USER, DEVICE, Scope::Database(Id::from_bytes([9; 32]))),
        claim(USER, DEVICE, Scope::Listing),
        claim(USER + 1, DEVICE, Scope::Database(id)),
    ];
    for wrong in wrong.iter().cloned().map(|wrong| vec![wrong]).chain([vec![], wrong.to_vec()]) {
        let shown = shown(id, wrong);
        assert_eq!(as_whom(&database, &shown).await, None);
        assert_eq!(shown.users().filter(|user| **user == public(USER)).count(), 0);
    }
    // Among wrong ones, the right one counts.
    let mut claims = wrong.to_vec();
    claims.push(claim(USER, DEVICE, Scope::Database(id)));
    assert_eq!(as_whom(&database, &shown(id, claims)).await, Some((public(USER), Right::WRITE)));
}

#[tokio::test]
async fn what_was_shown_for_one_database_opens_no_other() {
    let (engine, one, id) = here().await;
    let two = database(&engine, &key(1)).await;
    for database in [&one, &two] {
        grant(database, &public(USER), Permission::Read).await;
    }
    let shown = shown(id, vec![claim(USER, DEVICE, Scope::Database(id))]);
    assert!(as_whom(&one, &shown).await.is_some() && as_whom(&two, &shown).await.is_none());
    everybody(&two, Some(Permission::Read)).await;
    assert!(as_whom(&two, &shown).await.is_none(), "asked for another database, even a public one");
}

#[tokio::test]
async fn everybody_may_read_what_is_public_but_a_device_that_was_removed() {
    let (_engine, database, id) = here().await;
    let nothing = shown(id, vec![]);
    assert_eq!(as_whom(&database, &nothing).await, None);
    everybody(&database, Some(Permission::Read)).await;
    assert_eq!(as_whom(&database, &nothing).await, Some((public(DEVICE), Right::READ)));
    grant(&database, &public(USER), Permission::Write).await;
    let vouched = shown(id, vec![claim(USER, DEVICE, Scope::Database(id))]);
    grant(&database, &public(DEVICE), Permission::Write).await;
    revoke(&database, &public(DEVICE)).await;
    assert_eq!(as_whom(&database, &nothing).await, None);
    assert_eq!(as_whom(&database, &vouched).await, None, "whoever vouches for it");
    everybody(&database, None).await;
    // The device itself can be given a right.
    grant(&database, &public(DEVICE), Permission::Read).await;
    assert_eq!(as_whom(&database, &nothing).await, Some((public(DEVICE), Right::READ)));
}

/// Only whoever shows a key that had a right, and has signed for this device, is told what has become of it.
#[tokio::test]
async fn whose_right_was_taken_away_is_told_to_that_key_alone() {
    let (_engine, database, id) = here().await;
    let removed = async |shown: &Shown| was_removed(&database, shown).await.unwrap();
    let (nothing, vouched) = (shown(id, vec![]), shown(id, vec![claim(USER, DEVICE, Scope::Database(id))]));
    assert!(!removed(&nothing).await && !removed(&vouched).await, "neither ever had a right");
    grant(&database, &public(USER), Permission::Write).await;
    assert!(!removed(&vouched).await);
    revoke(&database, &public(USER)).await;
    assert!(removed(&vouched).await && !removed(&nothing).await);
    let others = [claim(USER, DEVICE + 1, Scope::Database(id)), claim(USER, DEVICE, Scope::Listing)];
    for other in others {
        assert!(!removed(&shown(id, vec![other])).await, "it was signed for something else");
    }
    let elsewhere = Shown::new(public(DEVICE), Scope::Listing, vec![claim(USER, DEVICE, Scope::Listing)]);
    assert!(!removed(&elsewhere).await);
    revoke(&database, &public(DEVICE)).await;
    assert!(removed(&nothing).await, "the key of the device itself");
}

#[tokio::test]
async fn to_be_told_of_a_database_takes_a_listing_grant() {
    let (engine, database, id) = here().await;
    grant(&database, &public(USER), Permission::Read).await;
    let hidden = super::kit::database(&engine, &key(1)).await;
    let listing = Shown::new(public(DEVICE), Scope::Listing, vec![claim(USER, DEVICE, Scope::Listing)]);
    assert!(may_list(&database, &listing).await.unwrap().is_some());
    assert!(may_list(&hidden, &listing).await.unwrap().is_none());
    // To read takes one for the database, and the other way round.
    assert!(may_read(&database, &listing).await.unwrap().is_none());
    let reading = shown(id, vec![claim(USER, DEVICE, Scope::Database(id))]);
    assert!(may_list(&database, &reading).await.unwrap().is_none());
    everybody(&hidden, Some(Permission::Read)).await;
    assert!(may_list(&hidden, &Shown::new(public(DEVICE), Scope::Listing, vec![])).await.unwrap().is_some());
}
