//! Many members behind one address, as behind the router of an office, and strangers who come from the same one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ground::{FILES, Ground, many, may_open};
use super::peer::Peer;
use super::raw::{Raw, garbage, head};

const MEMBERS: usize = 100;
/// Each origin has so many connections, as far as nobody vouches for who is behind them (`HttpLimits::connections_per_origin`). Members
/// alone have more.
const OF_ORIGIN: usize = 128;
/// By when all members have heard of something. Mostly it takes a part of a second. A connection on which nobody is vouched for yet, as in the
/// middle of a handshake, is one among all of its origin: who loses it has another try after a pause that doubles, from one second up to a
/// minute. Of so many members one has needed more than six tries, now and then; this is time for eight.
const BY_THEN: Duration = Duration::from_secs(180);
/// The address from which the members come, and in this test all others.
const ORIGIN: u8 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_behind_one_address_keep_their_places_before_strangers_from_there() {
    if !may_open(3 * FILES as u64) {
        return;
    }
    let ground = Ground::new().await;
    let socket = ground.socket();
    let began = Instant::now();
    let mut joining = JoinSet::new();
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        // Of one origin eight handshakes are taken a second, and whoever comes in between tries again: so they come at that pace.
        if number >= 24 {
            sleep(Duration::from_millis(130)).await;
        }
        let peer = Peer::granted(&format!("member {number}"), &ground.id, &ground.place).await;
        let (id, address) = (ground.id, ground.serving.address.clone());
        joining.spawn(async move { peer.come(&id, &address).await });
        while let Some(joined) = joining.try_join_next() {
            members.push(joined.unwrap());
        }
    }
    while let Some(joined) = joining.join_next().await {
        members.push(joined.unwrap());
    }
    println!("{MEMBERS} members came within {:?}; {} KiB", began.elapsed(), ground.serving.peak());
    let members = Arc::new(members);

    // Some say nothing, some never come to an end, and some talk nonsense, until all the news have come.
    let flood = many(3 * OF_ORIGIN, |number| async move {
        loop {
            let Some(mut raw) = Raw::from(ORIGIN, socket).await else { continue };
            match number % 3 {
                0 => while !raw.ended().await {},
                1 => {
                    raw.say(head(1 << 20)).await;
                    while raw.say("x").await {
                        sleep(Duration::from_millis(200)).await;
                    }
                }
                _ => while raw.post(&nonsense(number)).await.is_some() {},
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let news = async {
        // Until all places of the origin are taken, and those are known who dawdle over their requests.
        sleep(Duration::from_secs(5)).await;
        let began = Instant::now();
        members[0].comes_again(&ground.id, &ground.serving.address).await;
        println!("one member came again within {:?}", began.elapsed());
        for turn in 0..6 {
            // Every turn another one writes; he has to be let in with it, too.
            let from = &members[turn * 17 % MEMBERS];
            let value = turn.to_string();
            let began = Instant::now();
            from.set("news", &value).await.unwrap();
            for (number, member) in members.iter().enumerate() {
                let left = BY_THEN.saturating_sub(began.elapsed());
                assert!(member.sees("news", &value, left).await.is_some(), "turn {turn}: {number} does not see it");
            }
            println!("turn {turn}: all {MEMBERS} have it after {:?}", began.elapsed());
        }
    };
    let both = async {
        tokio::select! {
            () = news => {}
            () = flood => unreachable!("it has no end"),
        }
    };
    ground.stands("strangers from where the members are", 96, false, both).await;
    for member in Arc::into_inner(members).unwrap() {
        member.close().await;
    }
    ground.end().await;
}

/// A message that is none, and no greeting: of these an origin has so many a second, whoever makes them.
fn nonsense(number: usize) -> Vec<u8> {
    let mut bytes = garbage(number, 200);
    bytes[0] = 9;
    bytes
}
