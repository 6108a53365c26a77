//! Who is here, between instances on real sockets.

use std::time::Duration;

use eidetica::crdt::Doc;
use eidetica::sync::{Departed, PresenceEvent};
use tokio::time::timeout;

use super::kit::{Device, let_in, set_right};

async fn next(presence: &mut eidetica::sync::Presence) -> PresenceEvent {
    timeout(Duration::from_secs(30), presence.next()).await.expect("something happens").unwrap()
}

/// Ben calls, and cannot be called. No user has to be logged in for it.
#[tokio::test(flavor = "multi_thread")]
async fn two_see_each_other_over_http_until_one_leaves_or_may_not_read() {
    let (mut anna, ben) = (Device::new("anna").await, Device::new("ben").await);
    let address = anna.listen().await;
    let room = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *room.root_id();
    let_in(&room, &ben.key).await;
    let asked = ben.user.request_database_access(&ben.sync, &address, &id, &ben.key, eidetica::auth::Permission::Write);
    asked.await.unwrap();
    ben.sync.sync_with_peer(&address, Some(&id)).await.unwrap();
    let there = ben.user.open_database(&id).await.unwrap();

    let (mut at_anna, mut at_ben) = (anna.sync.presence(&room).unwrap(), ben.sync.presence(&there).unwrap());
    ben.user.clone().logout();
    at_anna.publish("hello").unwrap();
    at_ben.publish("here").unwrap();
    let PresenceEvent::Here(anna_there) = next(&mut at_ben).await else { panic!("Anna is here") };
    assert_eq!((anna_there.device, anna_there.key), (anna.instance.device_id(), anna.key));
    assert_eq!((&anna_there.payload[..], anna_there.hops), (&b"hello"[..], 1));
    let PresenceEvent::Here(ben_there) = next(&mut at_anna).await else { panic!("Ben is here") };
    assert_eq!((ben_there.device, ben_there.key), (ben.instance.device_id(), ben.key));
    assert_eq!(at_anna.here().unwrap(), std::slice::from_ref(&ben_there));

    at_ben.publish("typing").unwrap();
    let PresenceEvent::Here(typing) = next(&mut at_anna).await else { panic!("Ben says something else") };
    assert_eq!((&typing.payload[..], typing.since), (&b"typing"[..], ben_there.since));
    at_anna.leave().await;
    assert_eq!(next(&mut at_ben).await, PresenceEvent::Gone { was: anna_there, why: Departed::Left });

    // With his right Ben's presence ends, at once.
    let mut at_anna = anna.sync.presence(&room).unwrap();
    assert!(matches!(next(&mut at_anna).await, PresenceEvent::Here(_)));
    set_right(&room, &ben.key, None).await;
    let PresenceEvent::Gone { was, why } = next(&mut at_anna).await else { panic!("Ben is gone") };
    assert_eq!((was.key, why), (ben.key, Departed::Removed));
    anna.instance.close().await.unwrap();
    ben.instance.close().await.unwrap();
}
