//! Tickets: sharing, joining, and invitations.

use std::collections::BTreeMap;
use std::time::Duration;

use eidetica::auth::Permission;
use eidetica::backend::database::Memory;
use eidetica::crdt::Doc;
use eidetica::store::SettingsStore;
use eidetica::sync::access::Invitation;
use eidetica::sync::ticket::{DatabaseTicket, TicketPeer};
use eidetica::sync::transports::http::HttpTransport;
use eidetica::sync::{Address, SyncState};
use eidetica::user::Terms;
use eidetica::{Database, ErrorKind, Id, Instance};

use super::kit::{Device, get, set, until};

async fn anna_with_notes() -> (Device, Database) {
    let mut anna = Device::new("anna").await;
    anna.listen().await;
    let settings: Doc = [("name", "notes")].into_iter().collect();
    let database = anna.user.create_database(settings, &anna.key).await.unwrap();
    set(&database, "greeting", "hello").await.unwrap();
    (anna, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_leads_to_a_database_once_an_admin_has_approved() {
    let (anna, database) = anna_with_notes().await;
    let ticket = anna.user.share(database.root_id()).await.unwrap();
    assert_eq!(ticket.name.as_deref(), Some("notes"));
    assert_eq!(ticket.peers[0].device, anna.instance.device_id());
    let ticket: DatabaseTicket = ticket.to_string().parse().unwrap();

    let ben = Device::new("ben").await;
    let error = ben.user.join(&ticket).await.unwrap_err();
    assert_eq!((error.kind(), error.context("reason")), (ErrorKind::Pending, Some("access_pending")));
    until("the request is there", || async {
        !anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().is_empty()
    })
    .await;
    let (request, _) = &anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap()[0];
    anna.user.approve_bootstrap_request(&anna.sync, request, &anna.key).await.unwrap();
    let there = ben.user.join(&ticket).await.unwrap();
    assert_eq!(get(&there, "greeting").await.as_deref(), Some("hello"));

    // From then on all by itself, both ways.
    set(&there, "answer", "hello, too").await.unwrap();
    until("it is at anna's", || async { get(&database, "answer").await.is_some() }).await;
    set(&database, "more", "live").await.unwrap();
    until("it is at ben's", || async { get(&there, "more").await.is_some() }).await;
    let status = ben.sync.get_sync_status(&ticket.peers[0].device, database.root_id()).unwrap();
    assert_ne!(status.state, SyncState::NotWished);
    // Joining again does no harm.
    ben.user.join(&ticket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_gives_a_right_as_often_as_it_says() {
    let (anna, database) = anna_with_notes().await;
    let terms = Terms { permission: Permission::Read, uses: 2, ..Terms::default() };
    let ticket = anna.user.invite(database.root_id(), terms).await.unwrap();
    let ticket: DatabaseTicket = ticket.to_string().parse().unwrap();
    assert_eq!(anna.user.invitations().await.unwrap()[0].uses_left, 2);

    let guests = [Device::new("ben").await, Device::new("cleo").await, Device::new("dora").await];
    let all = guests.iter().map(|guest| guest.user.join(&ticket));
    let mut outcomes = Vec::new();
    for join in all.map(Box::pin).collect::<Vec<_>>() {
        outcomes.push(join.await);
    }
    let (joined, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((joined.len(), refused.len()), (2, 1));
    for there in joined {
        let there = there.unwrap();
        assert_eq!(get(&there, "greeting").await.as_deref(), Some("hello"));
        assert_eq!(there.current_permission().await.unwrap().permission(), Some(Permission::Read));
    }
    // The third waits for a decision like anybody else.
    assert_eq!(refused[0].as_ref().unwrap_err().kind(), ErrorKind::Pending);
    assert!(anna.user.invitations().await.unwrap().is_empty());
    assert_eq!(anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len(), 1);
    // Whoever has used it may do so again, and takes no use.
    guests[0].user.join(&ticket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_share_one_use() {
    let (anna, database) = anna_with_notes().await;
    let ticket = anna.user.invite(database.root_id(), Terms::default()).await.unwrap();
    let mut joins = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (ticket, guest) = (ticket.clone(), Device::new(&format!("guest {number}")).await);
        joins.spawn(async move { (guest.user.join(&ticket).await.map(|_| ()), guest).0 });
    }
    let outcomes = joins.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_ends_when_it_is_revoked_or_over_and_gives_no_more_than_it_says() {
    let (anna, database) = anna_with_notes().await;
    let id = database.root_id();
    let pending = |ticket: DatabaseTicket, name: &'static str| async move {
        let error = Device::new(name).await.user.join(&ticket).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Pending, "{name}: {error}");
    };
    let revoked = anna.user.invite(id, Terms::default()).await.unwrap();
    let name = revoked.invitation.as_ref().unwrap().id();
    anna.user.revoke_invitation(&name).await.unwrap();
    assert_eq!(anna.user.revoke_invitation(&name).await.unwrap_err().kind(), ErrorKind::NotFound);
    let mut greedy = anna.user.invite(id, Terms { permission: Permission::Read, ..Terms::default() }).await.unwrap();
    greedy.ask = Some(Permission::Admin);
    let mut forged = anna.user.share(id).await.unwrap();
    forged.invitation = Some(Invitation::of(eidetica::SecretKey::from_seed(&[1; 32])));
    // The last that is made, since making one takes away those that are over.
    let over = anna.user.invite(id, Terms { valid: Duration::from_millis(1), ..Terms::default() }).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waits = tokio::join!(
        pending(revoked, "revoked"),
        pending(over, "over"),
        pending(greedy, "greedy"),
        pending(forged, "forged")
    );
    let ((), (), (), ()) = waits;
    assert_eq!(anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len(), 4);
    // What was not used is still good.
    assert_eq!(anna.user.invitations().await.unwrap().len(), 1);

    // Somebody who has seen the request of another cannot show its invitation.
    let ticket = anna.user.invite(id, Terms::default()).await.unwrap();
    let (thief, device) = (Device::new("thief").await, anna.instance.device_id());
    let seen: BTreeMap<_, _> = [ticket.invitation.as_ref().unwrap().pair(id, &device, &anna.key)].into();
    let request = thief.user.prepare_access_request(&device, id, &thief.key, Permission::Write, seen).await.unwrap();
    let (_, address) = ticket.places().next().unwrap();
    thief.sync.request_access(address, &request).await.unwrap();
    until("the thief waits", || async { anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len() == 5 })
        .await;
    // The same ticket, used after it: requests are looked at in their order.
    Device::new("honest").await.user.join(&ticket).await.unwrap();
    assert_eq!(anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_waits_for_its_maker_to_log_in() {
    let instance = Instance::open(Box::new(Memory::new())).await.unwrap();
    instance.create_user("anna", Some("secret")).await.unwrap();
    let mut anna = Device::of(instance, "anna", Some("secret")).await;
    anna.listen().await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    set(&database, "greeting", "hello").await.unwrap();
    let ticket = anna.user.invite(database.root_id(), Terms::default()).await.unwrap();
    anna.user.clone().logout();
    let ben = Device::new("ben").await;
    assert_eq!(ben.user.join(&ticket).await.unwrap_err().kind(), ErrorKind::Pending);
    let _anna = anna.instance.login_user("anna", Some("secret")).await.unwrap();
    // The request is repeated by itself.
    until("ben has it", || async { ben.user.open_database(database.root_id()).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_addresses_cost_little_and_another_device_is_not_taken() {
    let (anna, database) = anna_with_notes().await;
    let good = anna.user.invite(database.root_id(), Terms::default()).await.unwrap();
    let device = anna.instance.device_id();
    // Nobody listens at the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut ticket = good.clone();
    ticket.peers.insert(
        0,
        TicketPeer { device: eidetica::PublicKey::from_bytes([9; 32]), addresses: vec![Address::http(&gone)] },
    );
    ticket.peers[1].addresses.insert(0, Address::http(&gone));
    let ben = Device::new("ben").await;
    ben.user.join(&ticket).await.unwrap();

    let mut wrong = good.clone();
    wrong.peers[0].device = ben.instance.device_id();
    let cleo = Device::new("cleo").await;
    let error = cleo.user.join(&wrong).await.unwrap_err();
    assert_eq!((error.kind(), error.context("reason")), (ErrorKind::Unauthenticated, Some("other_device")));
    let mut dead = good.clone();
    dead.peers = vec![TicketPeer { device, addresses: vec![Address::http(&gone), Address::http(&gone)] }];
    let error = cleo.user.join(&dead).await.unwrap_err();
    assert_eq!((error.kind(), error.context("tried")), (ErrorKind::Unreachable, Some("2")));
    let error = cleo.user.join(&DatabaseTicket::new(*database.root_id())).await.unwrap_err();
    assert_eq!(error.context("reason"), Some("no_addresses"));
    // Nobody was asked, and nothing is tracked.
    assert!(cleo.user.databases().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shared_says_why() {
    let mut anna = Device::new("anna").await;
    let database = anna.user.create_database(Doc::new(), &anna.key).await.unwrap();
    let id = *database.root_id();
    let reason = |error: eidetica::Error| (error.kind(), error.context("reason").map(str::to_owned));
    let held = anna.user.clone();
    let share = |id: Id| {
        let user = held.clone();
        async move { reason(user.share(&id).await.unwrap_err()) }
    };
    assert_eq!(share(id).await.0, ErrorKind::NotFound, "nothing listens");
    anna.listen().await;
    assert_eq!(share(Id::of(b"another")).await, (ErrorKind::NotFound, Some("not_tracked".into())));
    anna.user.set_sync_enabled(&id, false).await.unwrap();
    assert_eq!(share(id).await, (ErrorKind::Unsupported, Some("sync_disabled".into())));
    anna.user.set_sync_enabled(&id, true).await.unwrap();
    for terms in [Terms { uses: 0, ..Terms::default() }, Terms { valid: Duration::ZERO, ..Terms::default() }] {
        let error = anna.user.invite(&id, terms).await.unwrap_err();
        assert_eq!(reason(error), (ErrorKind::InvalidInput, Some("bad_terms".into())));
    }
    // A writer invites nobody.
    let ticket = anna.user.invite(&id, Terms::default()).await.unwrap();
    let ben = Device::new("ben").await;
    ben.user.join(&ticket).await.unwrap();
    ben.listen().await;
    let error = ben.user.invite(&id, Terms::default()).await.unwrap_err();
    assert_eq!(reason(error), (ErrorKind::PermissionDenied, Some("insufficient_permission".into())));

    let alone = Instance::open(Box::new(Memory::new())).await.unwrap();
    alone.create_user("alone", None).await.unwrap();
    let user = alone.login_user("alone", None).await.unwrap();
    assert_eq!(reason(user.share(&id).await.unwrap_err()), (ErrorKind::Unsupported, Some("no_sync".into())));
    assert_eq!(reason(user.join(&ticket).await.unwrap_err()), (ErrorKind::Unsupported, Some("no_sync".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_name_is_cut_and_not_the_ticket_spoiled() {
    let (anna, database) = anna_with_notes().await;
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_name(&"名前".repeat(500)).await.unwrap();
    transaction.commit().await.unwrap();
    let ticket = anna.user.share(database.root_id()).await.unwrap().to_string();
    let read: DatabaseTicket = ticket.parse().unwrap();
    assert_eq!(read.name, Some("名前".repeat(500)[..255].to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_honoured_by_the_key_that_has_taken_over() {
    let (mut anna, database) = anna_with_notes().await;
    let id = *database.root_id();
    let ticket = anna.user.invite(&id, Terms::default()).await.unwrap();
    let successor = anna.user.add_private_key(None).await.unwrap();
    anna.user.rotate_key(&id, &anna.key, &successor).await.unwrap();
    let there = Device::new("ben").await.user.join(&ticket).await.unwrap();
    assert_eq!(get(&there, "greeting").await.as_deref(), Some("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_that_are_used_up_take_no_place() {
    let (anna, database) = anna_with_notes().await;
    let id = *database.root_id();
    let used = anna.user.invite(&id, Terms::default()).await.unwrap();
    Device::new("ben").await.user.join(&used).await.unwrap();
    for number in 0..256 {
        anna.user.invite(&id, Terms::default()).await.unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    let error = anna.user.invite(&id, Terms::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.context("reason")), (ErrorKind::Full, Some("too_many_invitations")));
    let name = used.invitation.as_ref().unwrap().id();
    until("nothing is left of the one that was used", || async {
        anna.user.revoke_invitation(&name).await.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_user_has_lost_does_not_silence_the_request_of_another() {
    let (anna, database) = anna_with_notes().await;
    let id = *database.root_id();
    let invited = anna.user.invite(&id, Terms::default()).await.unwrap();
    let ben = Device::new("ben").await;
    ben.user.join(&invited).await.unwrap();
    anna.user.remove_key(&id, &ben.key, None).await.unwrap();
    // Somebody else, on the same device.
    ben.instance.create_user("cleo", None).await.unwrap();
    let cleo = ben.instance.login_user("cleo", None).await.unwrap();
    let ticket = anna.user.share(&id).await.unwrap();
    assert_eq!(cleo.join(&ticket).await.unwrap_err().kind(), ErrorKind::Pending);
    let (_, address) = ticket.places().next().unwrap();
    let ended = || async { ben.sync.sync_with_peer(address, Some(&id)).await.unwrap_err() };
    // Once it is found out that what the device has shown counts no longer.
    until("it is asked for again", || async { ended().await.kind() == ErrorKind::Pending }).await;
    let pending = anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap();
    let (request, asks) = &pending[0];
    assert_eq!((pending.len(), asks.key), (1, cleo.get_default_key().unwrap()));
    anna.user.reject_bootstrap_request(&anna.sync, request, &anna.key).await.unwrap();
    assert_eq!(ended().await.context("reason"), Some("access_rejected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_removed_does_not_come_back_by_an_invitation() {
    let (anna, database) = anna_with_notes().await;
    let id = *database.root_id();
    let ticket = anna.user.invite(&id, Terms { uses: 5, ..Terms::default() }).await.unwrap();
    let ben = Device::new("ben").await;
    ben.user.join(&ticket).await.unwrap();
    anna.user.remove_key(&id, &ben.key, None).await.unwrap();
    // He has it still, and asks.
    let _ = ben.user.join(&ticket).await;
    until("he waits like anybody else", || async {
        !anna.user.pending_bootstrap_requests(&anna.sync).await.unwrap().is_empty()
    })
    .await;
    // Somebody else is let in after him, so that his request has been looked at.
    Device::new("cleo").await.user.join(&ticket).await.unwrap();
    let right = database.now().right_of(ben.key).await.unwrap();
    assert_eq!(right.permission(), None);
    assert_eq!(anna.user.invitations().await.unwrap()[0].uses_left, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_that_was_closed_is_started_anew() {
    let (anna, database) = anna_with_notes().await;
    let ben = Device::new("ben").await;
    let ticket = anna.user.invite(database.root_id(), Terms { uses: 5, ..Terms::default() }).await.unwrap();
    let there = ben.user.join(&ticket).await.unwrap();
    for round in 0..2 {
        ben.instance.sync().unwrap().close().await;
        let error =
            ben.instance.sync().unwrap().sync_with_peer(ticket.places().next().unwrap().1, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        set(&database, "while away", &round.to_string()).await.unwrap();
        ben.instance.enable_sync().await.unwrap();
        ben.instance
            .sync()
            .unwrap()
            .register_transport("http", HttpTransport::builder().bind("127.0.0.1:0"))
            .await
            .unwrap();
        until("it goes on", || async { get(&there, "while away").await == Some(round.to_string()) }).await;
    }
    // The same where requests are answered: invitations are honoured by the one that runs now.
    anna.instance.sync().unwrap().close().await;
    anna.instance.enable_sync().await.unwrap();
    anna.instance
        .sync()
        .unwrap()
        .register_transport("http", HttpTransport::builder().bind("127.0.0.1:0"))
        .await
        .unwrap();
    anna.instance.sync().unwrap().accept_connections().await.unwrap();
    let ticket = anna.user.invite(database.root_id(), Terms::default()).await.unwrap();
    Device::new("cleo").await.user.join(&ticket).await.unwrap();
}
