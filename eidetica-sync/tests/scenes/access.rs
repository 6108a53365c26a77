//! Asking for access over a poor line.

use std::time::Duration;

use eidetica_contract::ErrorKind;
use eidetica_core::auth::Permission;
use eidetica_sync::access::{Request, Wanted};
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim::{self, Conditions, World};

use super::kit::*;

async fn ask(world: &World) -> (Node, Node, eidetica_core::Database, eidetica_sync::access::RequestId) {
    let (anna, mut ben) = (Node::start(world, "anna").await, Node::start(world, "ben").await);
    world.network.everywhere(Conditions::poor());
    let database = anna.create(&[]).await;
    let id = *database.root_id();
    ben.track(id, Wish::live()).await;
    let wanted = Wanted::new(id, ben.user.public(), Some(Permission::Write), "Ben");
    let request = Request::sign(wanted, ben.key(), anna.key(), &ben.user).unwrap();
    while ben.syncer().request_access(&anna.address(), &request).await.is_err() {}
    tokio::time::sleep(Duration::from_secs(5)).await;
    ben.crash().await;
    ben.begin().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(ben.engine().databases().await.unwrap().is_empty());
    let requests = anna.syncer().access_book().requests().await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = requests[0].0;
    (anna, ben, database, request)
}

#[test]
fn what_is_approved_completes_by_itself() {
    for seed in sim::seeds(10) {
        sim::run(seed, async |world| {
            let (anna, mut ben, database, request) = ask(&world).await;
            anna.syncer().access_book().approve(&database, &request, None).await.unwrap();
            if world.seed % 2 == 0 {
                ben.end().await;
                ben.begin().await;
            }
            let took = come_in_step(&[&anna, &ben], database.root_id(), Duration::from_secs(150)).await;
            println!("completed {took:?} after it was approved");
            set(&ben.open(database.root_id()).await, "from", "ben").await;
            come_in_step(&[&anna, &ben], database.root_id(), Duration::from_secs(150)).await;
        });
    }
}

#[test]
fn what_is_rejected_stays_so() {
    for seed in sim::seeds(5) {
        sim::run(seed, async |world| {
            let (anna, mut ben, database, request) = ask(&world).await;
            anna.syncer().access_book().reject(&database, &request, "not you").await.unwrap();
            tokio::time::sleep(Duration::from_secs(120)).await;
            ben.crash().await;
            ben.begin().await;
            tokio::time::sleep(Duration::from_secs(120)).await;
            let id = database.root_id();
            assert!(ben.engine().databases().await.unwrap().is_empty());
            let status = ben.syncer().handle(&anna.key(), id).status().unwrap();
            let (_, kind, text) = status.last_error.unwrap();
            let kinds = [ErrorKind::PermissionDenied, ErrorKind::Timeout, ErrorKind::Unreachable];
            assert!(kinds.contains(&kind), "{kind:?} {text}");
            world.network.everywhere(Conditions::default());
            let refused = loop {
                let error = ben.syncer().sync_with_peer(&anna.address(), Some(id)).await.unwrap_err();
                // What was on its way still breaks.
                if !matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) {
                    break error;
                }
            };
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
            assert!(refused.to_string().contains("not you"), "{refused}");
        });
    }
}
