//! Who is here, in worlds with clocks of their own.

use std::time::Duration;

use eidetica_contract::{ErrorKind, Transport as _};
use eidetica_core::auth::Permission;
use eidetica_core::store::SettingsStore;
use eidetica_core::{Database, Id};
use eidetica_sync::schedule::Wish;
use eidetica_sync::sim::{self, Conditions, World};
use eidetica_sync::{MAX_PAYLOAD, Presence, PresenceEvent};
use tokio::time::{Instant, timeout};

use super::elder::Elder;
use super::heckler::{Draft, Heckler};
use super::kit::*;

const MOMENT: Duration = Duration::from_secs(3);

/// Anna has a database, and listens. The others, who may write, call her and cannot be called.
async fn company(world: &World, names: &[&str]) -> (Node, Vec<Node>, Id) {
    let anna = Node::start(world, "anna").await;
    let mut others = Vec::new();
    for name in names {
        let mut node = Node::stopped(world, name, false).await;
        node.listens = false;
        node.begin().await;
        others.push(node);
    }
    let users: Vec<_> = others.iter().map(|node| node.user.public()).collect();
    let id = *anna.create(&users).await.root_id();
    for node in &others {
        node.track(id, Wish::live()).await;
        node.syncer().sync_with_peer(&anna.address(), Some(&id)).await.unwrap();
    }
    (anna, others, id)
}

async fn presence(node: &Node, id: &Id) -> Presence {
    node.syncer().presence(&node.open(id).await).unwrap()
}

/// The next event, as text: who, what, and from how far, or why not.
async fn next(presence: &mut Presence, among: &[&Node]) -> String {
    let name = |device| among.iter().find(|node| node.key() == device).map_or("?", |node| &node.name);
    match timeout(Duration::from_secs(90), presence.next()).await.expect("something happens").unwrap() {
        PresenceEvent::Here(present) => {
            let user = among.iter().any(|node| node.user.public() == present.key);
            assert!(user, "it is shown by whose right it is here");
            let payload = String::from_utf8_lossy(&present.payload).into_owned();
            format!("{} says {payload}, {} away", name(present.device), present.hops)
        }
        PresenceEvent::Gone { was, why } => format!("{} is gone: {why:?}", name(was.device)),
        _ => unreachable!("there is nothing else"),
    }
}

async fn until(so: impl Fn() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(90), wait).await.expect("it comes to be so");
}

async fn nothing_for(time: Duration, presence: &mut Presence) {
    if let Ok(event) = timeout(time, presence.next()).await {
        panic!("nothing was to happen, and not {event:?}");
    }
}

async fn set_right(database: &Database, node: &Node, permission: Option<Permission>) {
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    match permission {
        Some(permission) => settings.set_auth_key(&node.user.public(), permission, 0).await.unwrap(),
        None => settings.revoke_auth_key(&node.user.public()).await.unwrap(),
    }
    transaction.commit().await.unwrap();
}

#[test]
fn two_see_each_other_come_speak_and_go() {
    for seed in sim::seeds(5) {
        sim::run(seed, async |world| {
            let (anna, others, id) = company(&world, &["ben"]).await;
            if world.seed % 2 == 0 {
                world.network.everywhere(Conditions::poor());
            }
            let (ben, both) = (&others[0], [&anna, &others[0]]);
            let (mut at_anna, mut at_ben) = (presence(&anna, &id).await, presence(ben, &id).await);
            assert_eq!(at_anna.publish(vec![0; MAX_PAYLOAD + 1]).unwrap_err().kind(), ErrorKind::TooLarge);
            at_anna.publish("hello").unwrap();
            at_ben.publish("here").unwrap();
            assert_eq!(next(&mut at_ben, &both).await, "anna says hello, 1 away");
            assert_eq!(next(&mut at_anna, &both).await, "ben says here, 1 away");
            assert_eq!(at_anna.here().unwrap().len(), 1, "not oneself");

            // Of what is said in one breath the last counts.
            (0..50).for_each(|number| at_ben.publish(format!("typing {number}")).unwrap());
            let mut heard = next(&mut at_anna, &both).await;
            if heard != "ben says typing 49, 1 away" {
                heard = next(&mut at_anna, &both).await;
            }
            assert_eq!(heard, "ben says typing 49, 1 away");

            // Said again and again without a word, and over when he says so.
            let good = world.seed % 2 == 1;
            if good {
                nothing_for(Duration::from_secs(120), &mut at_anna).await;
            } else {
                // Over a poor line somebody may be lost for a while, and comes back.
                tokio::time::sleep(Duration::from_secs(120)).await;
                until(|| at_anna.here().unwrap().len() == 1).await;
            }
            let began = Instant::now();
            at_ben.leave().await;
            assert!(began.elapsed() <= Duration::from_secs(1));
            if good {
                assert_eq!(next(&mut at_anna, &both).await, "ben is gone: Left");
                assert!(began.elapsed() < MOMENT, "{:?}", began.elapsed());
            }
            until(|| at_anna.here().unwrap().is_empty()).await;
        });
    }
}

#[test]
fn who_vanishes_is_gone_when_the_last_word_is_over() {
    sim::run(1, async |world| {
        let (anna, mut others, id) = company(&world, &["ben", "cleo"]).await;
        let mut at_anna = presence(&anna, &id).await;
        let at_ben = presence(&others[0], &id).await.lifetime(Duration::from_secs(7));
        at_ben.publish("here").unwrap();
        let names = [&anna, &others[0], &others[1]];
        assert_eq!(next(&mut at_anna, &names).await, "ben says here, 1 away");
        drop(at_ben);
        assert_eq!(next(&mut at_anna, &names).await, "ben is gone: Left");
        let at_ben = presence(&others[0], &id).await.lifetime(Duration::from_secs(7));
        at_ben.publish("again").unwrap();
        assert_eq!(next(&mut at_anna, &names).await, "ben says again, 1 away");
        let began = Instant::now();
        others[0].crash().await;
        let names = [&anna, &others[0], &others[1]];
        assert_eq!(next(&mut at_anna, &names).await, "ben is gone: Expired");
        assert!(began.elapsed() <= Duration::from_secs(7), "{:?}", began.elapsed());
        // He comes back, although his device knows nothing of what it has said.
        others[0].begin().await;
        let at_ben = presence(&others[0], &id).await;
        at_ben.publish("back").unwrap();
        let names = [&anna, &others[0], &others[1]];
        assert_eq!(next(&mut at_anna, &names).await, "ben says back, 1 away");
        // A store that is closed says so.
        let mut at_cleo = presence(&others[1], &id).await;
        others[1].end().await;
        assert_eq!(at_cleo.publish("too late").unwrap_err().kind(), ErrorKind::Closed);
        let last = async {
            loop {
                if let Err(error) = at_cleo.next().await {
                    return error.kind();
                }
            }
        };
        assert_eq!(timeout(MOMENT, last).await.unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn nothing_goes_further_than_it_was_asked_to() {
    sim::run(1, async |world| {
        let (anna, others, id) = company(&world, &["ben", "cleo"]).await;
        let (ben, cleo) = (&others[0], &others[1]);
        let names = [&anna, ben, cleo];
        // Anna, between the two, has no handle of her own.
        let mut at_cleo = presence(cleo, &id).await;
        let near = presence(ben, &id).await;
        near.publish("for neighbours").unwrap();
        nothing_for(Duration::from_secs(60), &mut at_cleo).await;
        let mut at_anna = presence(&anna, &id).await;
        assert_eq!(next(&mut at_anna, &names).await, "ben says for neighbours, 1 away");
        drop(at_anna);
        let far = near.reach(2);
        far.publish("for all").unwrap();
        assert_eq!(next(&mut at_cleo, &names).await, "ben says for all, 2 away");
        nothing_for(Duration::from_secs(120), &mut at_cleo).await;
        far.leave().await;
        assert_eq!(next(&mut at_cleo, &names).await, "ben is gone: Left");
    });
}

#[test]
fn who_loses_the_right_is_gone_and_is_told_nothing_more() {
    sim::run(1, async |world| {
        let (anna, others, id) = company(&world, &["ben", "cleo"]).await;
        let (ben, cleo) = (&others[0], &others[1]);
        let names = [&anna, ben, cleo];
        let (mut at_anna, mut at_cleo) = (presence(&anna, &id).await, presence(cleo, &id).await);
        let mut at_ben = presence(ben, &id).await.reach(2).lifetime(Duration::from_secs(60));
        at_ben.publish("here").unwrap();
        assert_eq!(next(&mut at_anna, &names).await, "ben says here, 1 away");
        assert_eq!(next(&mut at_cleo, &names).await, "ben says here, 2 away");
        let began = Instant::now();
        set_right(&anna.open(&id).await, ben, None).await;
        assert_eq!(next(&mut at_anna, &names).await, "ben is gone: Removed");
        assert_eq!(next(&mut at_cleo, &names).await, "ben is gone: Removed");
        assert!(began.elapsed() < MOMENT, "long before the last word is over: {:?}", began.elapsed());
        at_ben.publish("still here").unwrap();
        at_anna.publish("not for ben").unwrap();
        assert_eq!(next(&mut at_cleo, &names).await, "anna says not for ben, 1 away");
        nothing_for(Duration::from_secs(120), &mut at_ben).await;
        assert!(at_anna.here().unwrap().is_empty());
        // With the right everything comes back by itself.
        set_right(&anna.open(&id).await, ben, Some(Permission::Read)).await;
        assert_eq!(next(&mut at_anna, &names).await, "ben says still here, 1 away");
        assert_eq!(next(&mut at_ben, &names).await, "anna says not for ben, 1 away");
        // Nobody here wishes it synced: others are gone, and others hear nothing.
        ben.untrack(id).await;
        assert_eq!(next(&mut at_ben, &names).await, "anna is gone: Removed");
        assert_eq!(next(&mut at_anna, &names).await, "ben is gone: Expired");
    });
}

#[test]
fn whose_clock_is_far_off_is_seen_once_it_is_right() {
    sim::run(1, async |world| {
        let (anna, others, id) = company(&world, &["ben"]).await;
        let mut at_anna = presence(&anna, &id).await;
        let at_ben = presence(&others[0], &id).await;
        others[0].environment.set_skew(3_600_000);
        at_ben.publish("from the future").unwrap();
        nothing_for(Duration::from_secs(60), &mut at_anna).await;
        others[0].environment.set_skew(-60_000);
        assert_eq!(next(&mut at_anna, &[&anna, &others[0]]).await, "ben says from the future, 1 away");
    });
}

#[test]
fn between_two_that_call_each_other_nothing_is_said_twice() {
    sim::run(1, async |world| {
        let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
        let id = *anna.create(&[ben.user.public()]).await.root_id();
        ben.track(id, Wish::live()).await;
        ben.know(&anna, id).await;
        anna.know(&ben, id).await;
        come_in_step(&[&anna, &ben], &id, Duration::from_secs(60)).await;
        let (mut at_anna, mut at_ben) = (presence(&anna, &id).await, presence(&ben, &id).await);
        at_anna.publish("hello").unwrap();
        at_ben.publish("here").unwrap();
        assert_eq!(next(&mut at_ben, &[&anna, &ben]).await, "anna says hello, 1 away");
        assert_eq!(next(&mut at_anna, &[&anna, &ben]).await, "ben says here, 1 away");
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.network.reset_traffic();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let traffic = world.network.total();
        // Each says it again every six seconds: once in a request or its answer. Besides there are the watches.
        let (said, watches) = (2 * 600 / 6, 2 * 600 / 25 + 4);
        println!("{traffic:?}, {said} said");
        assert!(traffic.requests <= said + watches + 8, "{traffic:?}");
        // Those who want to know nothing cost nothing.
        drop((at_anna, at_ben));
        tokio::time::sleep(Duration::from_secs(700)).await;
        world.network.reset_traffic();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(world.network.total().requests <= watches, "{:?}", world.network.total());
    });
}

/// Ben knows nothing of his right having been taken, and would believe what he is told.
#[test]
fn who_calls_tells_nothing_to_one_without_the_right() {
    sim::run(1, async |world| {
        let (anna, ben) = (Node::start(&world, "anna").await, Node::start(&world, "ben").await);
        let id = *anna.create(&[ben.user.public()]).await.root_id();
        ben.track(id, Wish::live()).await;
        ben.know(&anna, id).await;
        anna.know(&ben, id).await;
        come_in_step(&[&anna, &ben], &id, Duration::from_secs(60)).await;
        let (at_anna, mut at_ben) = (presence(&anna, &id).await, presence(&ben, &id).await);
        at_anna.publish("for ben").unwrap();
        assert_eq!(next(&mut at_ben, &[&anna, &ben]).await, "anna says for ben, 1 away");
        // He asks for nothing any longer, so that it is for Anna to tell him.
        drop(at_ben);
        tokio::time::sleep(Duration::from_secs(30)).await;
        set_right(&anna.open(&id).await, &ben, None).await;
        at_anna.publish("not for ben").unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let mut at_ben = presence(&ben, &id).await;
        nothing_for(Duration::from_secs(120), &mut at_ben).await;
    });
}

#[test]
fn what_a_hostile_peer_says_is_not_believed() {
    sim::run(1, async |world| {
        let (anna, others, id) = company(&world, &["ben"]).await;
        let ben = &others[0];
        let mut at_anna = presence(&anna, &id).await;
        let eve = Node::stopped(&world, "eve", false).await;
        set_right(&anna.open(&id).await, &eve, Some(Permission::Read)).await;
        let heckler = Heckler::call(&world, &anna, &eve, id, true).await;
        let said = heckler.statement(b"eve");
        let present = async |presence: &Presence| {
            tokio::time::sleep(MOMENT).await;
            presence.here().unwrap().len()
        };

        // What is no message.
        let large = heckler.signed(heckler.statement(&[0; MAX_PAYLOAD + 1]));
        assert_eq!(heckler.tell(&[(1, large)]).await, Err(ErrorKind::InvalidInput));
        let many = vec![(1, heckler.signed(said.clone())); 65];
        assert_eq!(heckler.tell(&many).await, Err(ErrorKind::InvalidInput));
        let mut cut = heckler.signed(said.clone());
        cut.pop();
        assert_eq!(heckler.tell(&[(1, cut)]).await, Err(ErrorKind::InvalidInput));
        assert_eq!(present(&at_anna).await, 0);

        // What is not signed, of another time, or for another way than it has come.
        let mut forged = heckler.signed(said.clone());
        *forged.last_mut().unwrap() ^= 1;
        let mut as_ben = said.clone();
        as_ben.device = ben.key();
        let mut far = said.clone();
        far.serial += 400_000 << 16;
        let mut unproven = said.clone();
        unproven.claim = Some(heckler.claim_of(&ben.user.public()));
        let detour = Draft { reach: 2, ..said.clone() };
        let refused = [
            (1, forged),
            (1, heckler.signed(as_ben.clone())),
            (2, heckler.signed(as_ben)),
            (1, heckler.signed(far)),
            (1, heckler.signed(unproven)),
            (0, heckler.signed(said.clone())),
            (2, heckler.signed(detour)),
        ];
        heckler.tell(&refused).await.unwrap();
        assert_eq!(present(&at_anna).await, 0);

        // What is true is believed, once.
        let first = heckler.signed(said.clone());
        heckler.tell(&[(1, first.clone())]).await.unwrap();
        let names = [&anna, ben, &eve];
        assert_eq!(next(&mut at_anna, &names).await, "eve says eve, 1 away");
        let mut gone = said.clone();
        (gone.serial, gone.lifetime) = (said.serial + 1, 0);
        heckler.tell(&[(1, heckler.signed(gone))]).await.unwrap();
        assert_eq!(next(&mut at_anna, &names).await, "eve is gone: Left");
        heckler.tell(&[(1, first)]).await.unwrap();
        nothing_for(MOMENT, &mut at_anna).await;

        // What Ben has said for others, and has taken back, is not brought again by one who has heard it.
        let at_ben = presence(ben, &id).await.reach(2);
        at_ben.publish("ben").unwrap();
        assert_eq!(next(&mut at_anna, &names).await, "ben says ben, 1 away");
        let heard = heckler.listen().await;
        assert_eq!(heard.len(), 1, "{heard:?}");
        at_ben.leave().await;
        assert_eq!(next(&mut at_anna, &names).await, "ben is gone: Left");
        heckler.tell(&[(2, heard[0].clone())]).await.unwrap();
        nothing_for(MOMENT, &mut at_anna).await;

        // No more than her share, with however many devices; the places of others are left.
        for number in 0..40u8 {
            heckler.tell(&[(2, heckler.of_device(number, said.serial))]).await.unwrap();
        }
        assert_eq!(present(&at_anna).await, 16, "16 of one key");
        let at_ben = presence(ben, &id).await;
        at_ben.publish("ben, too").unwrap();
        assert_eq!(present(&at_anna).await, 17);

        // And no faster than anybody.
        let mut busy = 0;
        for number in 0..40u64 {
            let mut said = said.clone();
            said.serial += 1000 * (number + 1);
            let fast: Vec<_> = (0..32)
                .map(|more| {
                    let mut said = said.clone();
                    said.serial += more;
                    (1, heckler.signed(said))
                })
                .collect();
            busy += usize::from(heckler.tell(&fast).await == Err(ErrorKind::Busy));
        }
        assert!(busy > 20, "{busy} of 40");
    });
}

#[test]
fn who_may_not_read_says_and_hears_nothing_and_older_programs_have_none_of_it() {
    sim::run(1, async |world| {
        let (anna, _, id) = company(&world, &[]).await;
        let at_anna = presence(&anna, &id).await.reach(4);
        at_anna.publish("for members").unwrap();
        let eve = Node::stopped(&world, "eve", false).await;
        let heckler = Heckler::call(&world, &anna, &eve, id, true).await;
        heckler.tell(&[(1, heckler.signed(heckler.statement(b"eve")))]).await.unwrap();
        assert!(heckler.listen().await.is_empty());
        assert!(at_anna.here().unwrap().is_empty());
        // The right alone is what was missing.
        set_right(&anna.open(&id).await, &eve, Some(Permission::Read)).await;
        assert_eq!(heckler.listen().await.len(), 1);
        heckler.tell(&[(1, heckler.signed(heckler.statement(b"eve")))]).await.unwrap();
        assert_eq!(at_anna.here().unwrap().len(), 1);

        // Where everybody may read, anybody is somebody, and nobody is somebody else.
        set_right(&anna.open(&id).await, &eve, None).await;
        until(|| at_anna.here().unwrap().is_empty()).await;
        let transaction = anna.open(&id).await.new_transaction().await.unwrap();
        let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
        settings.set_global_permission(Some(Permission::Read)).await.unwrap();
        transaction.commit().await.unwrap();
        let mut said = heckler.statement(b"anna, I say");
        said.serial += 1 << 16;
        said.claim = Some(heckler.claim_of(&anna.user.public()));
        heckler.tell(&[(1, heckler.signed(said.clone()))]).await.unwrap();
        assert!(at_anna.here().unwrap().is_empty());
        said.claim = None;
        heckler.tell(&[(1, heckler.signed(said))]).await.unwrap();
        assert_eq!(at_anna.here().unwrap()[0].key, eve.key());

        let old = Heckler::call(&world, &anna, &eve, id, false).await;
        assert_eq!(old.tell(&[]).await, Err(ErrorKind::InvalidInput));
    });
}

/// To a peer whose program is older nothing is said of who is here, and nothing is asked of it; all else goes on.
#[test]
fn an_older_peer_that_answers_is_not_asked_who_is_here() {
    for presence in [false, true] {
        sim::run(1, move |world| async move {
            let anna = Node::start(&world, "anna").await;
            let old = Node::stopped(&world, "old", false).await;
            let id = *anna.create(&[old.user.public()]).await.root_id();
            let elder = Elder::new(&old, anna.key(), id, presence);
            let transport = world.network.transport("old");
            transport.listen(elder.clone()).await.unwrap();
            let at_anna = self::presence(&anna, &id).await;
            at_anna.publish("hello").unwrap();
            // The round comes to nothing, since it understands nothing else.
            anna.syncer().sync_with_peer(&address("old"), Some(&id)).await.unwrap_err();
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert!(elder.was_asked(1), "it was introduced to");
            for (what, name) in [(0x0b, "told"), (0x0c, "asked")] {
                assert_eq!(elder.was_asked(what), presence, "{name} who is here");
            }
            at_anna.leave().await;
        });
    }
}
