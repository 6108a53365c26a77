//! What this device has asked of others.

use eidetica_contract::ErrorKind;
use eidetica_core::Id;
use eidetica_core::auth::Permission;
use eidetica_sync::access::{Answer, AskedRequests, Request, Wanted};

use super::kit::*;

fn asking(database: u8, user: u8, to: u8, permission: Permission) -> Request {
    let wanted = Wanted::new(Id::from_bytes([database; 32]), public(user), Some(permission), "Anna");
    Request::sign(wanted, public(THERE), public(to), &key(user)).unwrap()
}

#[tokio::test]
async fn what_was_asked_is_there_after_a_restart_and_can_be_sent_again() {
    let store = Store::new();
    let engine = store.open().await;
    let asked = AskedRequests::new(engine.clone(), public(THERE));
    let (one, two) = (asking(1, 5, HERE, Permission::Write), asking(1, 5, 3, Permission::Write));
    let other = asking(2, 5, HERE, Permission::Read);
    for request in [&one, &two, &other] {
        asked.remember(request).await.unwrap();
    }
    let pending = Answer::Pending("00112233445566778899aabbccddeeff".parse().unwrap());
    asked.note(&one, &pending).await.unwrap();
    let begun = store.clock.millis();
    store.clock.pass(DAY);
    engine.close().await.unwrap();

    let asked = AskedRequests::new(store.open().await, public(THERE));
    assert_eq!(asked.all().await.unwrap().len(), 3);
    let of_one = asked.of(&Id::from_bytes([1; 32])).await.unwrap();
    assert_eq!(of_one.len(), 2);
    let first = of_one.iter().find(|asked| asked.request == one).unwrap();
    assert_eq!((&first.answer, first.asked_millis), (&Some(pending.clone()), begun));
    assert!(of_one.iter().any(|asked| asked.request == two && asked.answer.is_none()));
    assert!(Request::parse(&first.request.to_bytes(), &public(THERE), &public(HERE)).is_some());
    // The same again keeps what is known of it, other words begin anew.
    let commits = store.commits();
    asked.remember(&one).await.unwrap();
    asked.note(&one, &pending).await.unwrap();
    assert_eq!(store.commits(), commits);
    let less = asking(1, 5, HERE, Permission::Read);
    asked.remember(&less).await.unwrap();
    asked.note(&one, &Answer::Granted(Permission::Write)).await.unwrap();
    let of_one = asked.of(&Id::from_bytes([1; 32])).await.unwrap();
    let replaced = of_one.iter().find(|asked| asked.request == less).unwrap();
    assert_eq!((of_one.len(), &replaced.answer), (2, &None), "an answer to the old words says nothing of the new");

    asked.forget(&Id::from_bytes([1; 32]), &public(5)).await.unwrap();
    assert_eq!(asked.all().await.unwrap().len(), 1);
    asked.forget(&Id::from_bytes([1; 32]), &public(5)).await.unwrap();
}

#[tokio::test]
async fn answers_at_once_are_all_stored_and_damaged_rows_reported() {
    let store = Store::new();
    let (one, two) = (store.open().await, store.open().await);
    let request = asking(1, 5, HERE, Permission::Write);
    AskedRequests::new(one.clone(), public(THERE)).remember(&request).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..8 {
        let engine = if n % 2 == 0 { one.clone() } else { two.clone() };
        let (asked, request) = (AskedRequests::new(engine, public(THERE)), request.clone());
        let answer =
            Answer::Rejected { id: "00112233445566778899aabbccddeeff".parse().unwrap(), reason: format!("{n}") };
        tasks.push(tokio::spawn(async move { asked.note(&request, &answer).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let asked = AskedRequests::new(one, public(THERE));
    assert!(matches!(asked.all().await.unwrap()[0].answer, Some(Answer::Rejected { .. })));

    let (name, row) = store.rows("sync/asked/").await.remove(0);
    for at in 0..row.len() {
        let mut damaged = row.to_vec();
        damaged[at] ^= 0x41;
        for bytes in [damaged, row[..at].to_vec()] {
            store.put(&name, bytes).await;
            if let Err(error) = asked.all().await {
                assert!(matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::NewerFormat), "{error}");
            }
        }
    }
    // Under another name it is another request, which nobody has signed.
    store.put(&name, "x").await;
    refused(asked.all().await, ErrorKind::Corrupted, "damaged");
    store.put(&name, row.clone()).await;
    let moved = String::from_utf8(name.to_vec()).unwrap().replace(&public(HERE).to_string(), &public(3).to_string());
    store.put(&moved.into(), row).await;
    refused(asked.all().await, ErrorKind::Corrupted, "damaged");
}
