//! Each fault happens, as often as it is asked for, and does what it is for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{CallOptions, Caller, Channel, ErrorKind, Result, Service, Transport};
use eidetica_sync::sim::{Conditions, Delay, Fate, Kind, Network, Reach, SimTransport};
use tokio::time::Instant;

use super::transport::{address, dial, pair, soon};

/// Notes what it sees, takes 100 ms, and notes whether it came to its end.
#[derive(Default)]
struct Noting {
    seen: Mutex<Vec<Bytes>>,
    ended: AtomicUsize,
}

#[async_trait]
impl Service for Noting {
    async fn handle(&self, _: Caller, message: Bytes) -> Result<Bytes> {
        self.seen.lock().unwrap().push(message.clone());
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(message)
    }
}

struct Scene {
    network: Network,
    service: Arc<Noting>,
    channel: Arc<dyn Channel>,
    near: SimTransport,
    far: SimTransport,
}

/// A channel over a network on which, once it is dialled, these conditions hold there and back.
async fn scene(there: Conditions, back: Conditions) -> Scene {
    let network = Network::new(5);
    let (near, far) = (network.transport("near"), network.transport("far"));
    let service = Arc::new(Noting::default());
    far.listen(service.clone()).await.unwrap();
    let channel = dial(&near).await;
    network.one_way("near", "far", there);
    network.one_way("far", "near", back);
    Scene { network, service, channel: channel.into(), near, far }
}

impl Scene {
    /// How many of so many requests, 1 ms apart, are answered how.
    async fn ask(&self, requests: u32) -> BTreeMap<Option<u8>, usize> {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..requests {
            let channel = self.channel.clone();
            calls.spawn(async move {
                let message = Bytes::from(number.to_be_bytes().to_vec());
                match channel.request(message.clone(), CallOptions::timeout(Duration::from_secs(20))).await {
                    Ok(reply) if reply == message => "right",
                    Ok(_) => "wrong",
                    Err(error) if error.kind() == ErrorKind::Timeout => "timeout",
                    Err(error) if error.kind() == ErrorKind::Unreachable => "unreachable",
                    Err(error) => panic!("{error}"),
                }
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut counts = BTreeMap::new();
        for answer in calls.join_all().await {
            *counts.entry(Some(answer.as_bytes()[0])).or_default() += 1;
        }
        counts
    }

    fn fates(&self, kind: Kind, fate: impl Fn(Fate) -> bool) -> usize {
        self.network.trace().iter().filter(|event| event.kind == kind && fate(event.fate)).count()
    }

    fn seen(&self) -> Vec<Bytes> {
        self.service.seen.lock().unwrap().clone()
    }
}

/// In how many ways answers ended: right, wrong, timeout, unreachable.
fn ways(counts: &BTreeMap<Option<u8>, usize>) -> [usize; 4] {
    [b'r', b'w', b't', b'u'].map(|way| counts.get(&Some(way)).copied().unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn without_faults_everything_comes_in_order() {
    let scene = scene(Conditions::default(), Conditions::default()).await;
    assert_eq!(ways(&scene.ask(200).await), [200, 0, 0, 0]);
    assert!(scene.seen().is_sorted());
    // In order also where the delay varies.
    scene.network.everywhere(Conditions::default());
    let varying = Conditions::default().delay(Delay::Tailed(Duration::from_millis(20), Duration::from_secs(1)));
    scene.network.one_way("near", "far", varying);
    scene.service.seen.lock().unwrap().clear();
    assert_eq!(ways(&scene.ask(200).await), [200, 0, 0, 0]);
    assert!(scene.seen().is_sorted());
}

#[tokio::test(start_paused = true)]
async fn lost_requests_are_not_seen_and_lost_replies_are() {
    let scene_there = scene(Conditions::default().loss(0.3), Conditions::default()).await;
    let [right, wrong, timeout, unreachable] = ways(&scene_there.ask(400).await);
    assert!((80..160).contains(&timeout), "{timeout} lost");
    assert_eq!((right + timeout, wrong, unreachable), (400, 0, 0));
    assert_eq!(scene_there.seen().len(), right);
    assert_eq!(scene_there.fates(Kind::Request, |fate| fate == Fate::Lost), timeout);
    assert_eq!(scene_there.network.traffic("near", "far").lost, timeout as u64);

    let scene_back = scene(Conditions::default(), Conditions::default().loss(0.3)).await;
    let [right, _, timeout, _] = ways(&scene_back.ask(400).await);
    assert!((80..160).contains(&timeout), "{timeout} lost");
    assert_eq!((right + timeout, scene_back.seen().len()), (400, 400));
    assert_eq!(scene_back.fates(Kind::Reply, |fate| fate == Fate::Lost), timeout);
}

#[tokio::test(start_paused = true)]
async fn connections_break_on_the_way_and_at_work() {
    let slow = Conditions::default().delay(Delay::Between(Duration::from_millis(1), Duration::from_millis(90)));
    let there = scene(slow.breaking(0.4), Conditions::default()).await;
    let [right, wrong, timeout, unreachable] = ways(&there.ask(400).await);
    assert_eq!((right + unreachable, wrong, timeout), (400, 0, 0));
    let (on_the_way, at_work) = (
        there.fates(Kind::Request, |fate| fate == Fate::Broken),
        there.fates(Kind::Request, |fate| fate == Fate::BrokenAtWork),
    );
    assert!(on_the_way > 40 && at_work > 40, "{on_the_way} on the way, {at_work} at work");
    assert_eq!(on_the_way + at_work, unreachable);
    assert_eq!(there.seen().len(), 400 - on_the_way);
    assert_eq!(there.service.ended.load(Ordering::SeqCst), right, "what was at work was dropped");

    let back = scene(Conditions::default(), slow.breaking(0.4)).await;
    let [right, _, _, unreachable] = ways(&back.ask(400).await);
    assert!(unreachable > 100);
    assert_eq!((right + unreachable, back.service.ended.load(Ordering::SeqCst)), (400, 400));
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_held_back_are_overtaken() {
    let held = Delay::Between(Duration::from_millis(1), Duration::from_millis(300));
    let there = scene(Conditions::default().reordering(0.2, held), Conditions::default()).await;
    assert_eq!(ways(&there.ask(400).await), [400, 0, 0, 0]);
    let seen = there.seen();
    let overtaken = seen.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(overtaken > 30, "{overtaken} overtaken");
    assert!(there.fates(Kind::Request, |fate| matches!(fate, Fate::HeldBack(_))) > 40);

    let back = scene(Conditions::default(), Conditions::default().reordering(0.2, held)).await;
    assert_eq!(ways(&back.ask(400).await), [400, 0, 0, 0]);
    assert!(back.seen().is_sorted());
    let arrived: Vec<u64> = back
        .network
        .trace()
        .iter()
        .filter(|event| event.kind == Kind::Reply && event.fate == Fate::Arrived)
        .map(|event| event.message)
        .collect();
    assert!(!arrived.is_sorted() && arrived.len() == 400);
}

#[tokio::test(start_paused = true)]
async fn a_request_comes_twice_and_is_answered_once() {
    let scene = scene(Conditions::default().duplication(0.25), Conditions::default()).await;
    assert_eq!(ways(&scene.ask(400).await), [400, 0, 0, 0]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = scene.seen().len() - 400;
    assert!((70..130).contains(&again), "{again} came twice");
    assert_eq!(scene.fates(Kind::Request, |fate| matches!(fate, Fate::Again(_))), again);
    assert_eq!(scene.fates(Kind::Reply, |fate| fate == Fate::Unwanted), again);
}

#[tokio::test(start_paused = true)]
async fn somebody_sends_a_request_once_more_and_keeps_the_answer() {
    let scene = scene(Conditions::default().replaying(0.25), Conditions::default()).await;
    assert_eq!(ways(&scene.ask(400).await), [400, 0, 0, 0]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let again = scene.seen().len() - 400;
    assert!((70..130).contains(&again), "{again} came again");
    assert_eq!(scene.fates(Kind::Request, |fate| matches!(fate, Fate::Replayed(_))), again);
    assert_eq!(scene.fates(Kind::Reply, |fate| fate == Fate::Unwanted), again);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_changed_there_and_back() {
    let there = scene(Conditions::default().tampering(0.3), Conditions::default()).await;
    let [right, wrong, ..] = ways(&there.ask(400).await);
    assert!((80..160).contains(&wrong), "{wrong} changed");
    assert_eq!(right + wrong, 400);
    assert_eq!(there.fates(Kind::Request, |fate| fate == Fate::Changed), wrong);

    let back = scene(Conditions::default(), Conditions::default().tampering(0.3)).await;
    let [right, wrong, ..] = ways(&back.ask(400).await);
    assert!((80..160).contains(&wrong) && right + wrong == 400);
    assert!(back.seen().is_sorted(), "the requests came as they were");
}

#[tokio::test(start_paused = true)]
async fn delays_are_what_the_conditions_say() {
    let (least, most) = (Duration::from_millis(30), Duration::from_millis(60));
    let there = scene(Conditions::default().delay(Delay::Between(least, most)), Conditions::default()).await;
    there.ask(200).await;
    let delays: Vec<Duration> = there
        .network
        .trace()
        .iter()
        .filter_map(|event| match (event.kind, event.fate) {
            (Kind::Request, Fate::Sent(delay)) => Some(delay),
            _ => None,
        })
        .collect();
    assert_eq!(delays.len(), 200);
    assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
    assert!(delays.iter().collect::<std::collections::BTreeSet<_>>().len() > 10);
}

#[tokio::test(start_paused = true)]
async fn a_narrow_line_takes_one_message_after_the_other() {
    let (network, near, _far) = pair(1).await;
    let channel = dial(&near).await;
    network.one_way("near", "far", Conditions::default().bandwidth(1 << 20));
    let begun = Instant::now();
    let long = || CallOptions::timeout(Duration::from_secs(60));
    let message = Bytes::from(vec![1; 1 << 19]);
    let (one, other) = tokio::join!(channel.request(message.clone(), long()), channel.request(message.clone(), long()));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(begun.elapsed(), Duration::from_millis(1_020));
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_never_answers_and_a_refusal_does_at_once() {
    let scene = scene(Conditions::default(), Conditions::default()).await;
    for (reach, kind, after) in
        [(Reach::BlackHole, ErrorKind::Timeout, 1_000), (Reach::Refused, ErrorKind::Unreachable, 10)]
    {
        scene.network.set_reach("near", "far", reach);
        for dials in [false, true] {
            let begun = Instant::now();
            let error = match dials {
                true => scene.near.dial(&address("far"), soon()).await.map(drop).unwrap_err(),
                false => scene.channel.request("x".into(), soon()).await.unwrap_err(),
            };
            assert_eq!((error.kind(), begun.elapsed()), (kind, Duration::from_millis(after)), "{reach:?}");
        }
        assert!(scene.seen().is_empty());
        scene.network.heal();
    }
    assert_eq!(scene.channel.request("x".into(), soon()).await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn partitions_are_one_way_or_both_and_take_what_is_under_way() {
    let scene = scene(Conditions::default(), Conditions::default()).await;
    let ask = || scene.channel.request("x".into(), soon());
    // The way back alone: the service sees it, and nobody learns.
    scene.network.cut("far", "near");
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(scene.seen().len(), 1);
    scene.network.heal();
    // Both ways, between groups.
    scene.network.partition(&["near", "other"], &["far"]);
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(scene.seen().len(), 1);
    scene.network.heal();
    // While the request is on its way, then while the service is at work.
    for (after, seen) in [(5, 1), (50, 2)] {
        let cut = async {
            tokio::time::sleep(Duration::from_millis(after)).await;
            scene.network.partition(&["near"], &["far"]);
        };
        let (answer, ()) = tokio::join!(ask(), cut);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(scene.seen().len(), seen);
        scene.network.heal();
    }
    assert_eq!(scene.fates(Kind::Request, |fate| fate == Fate::Swallowed), 2);
    assert_eq!(scene.fates(Kind::Reply, |fate| fate == Fate::Swallowed), 2);
    assert_eq!(ask().await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_dropped_when_its_caller_has_gone_as_often_as_it_is_said() {
    for (chance, ended) in [(0.0, 40..=40), (1.0, 0..=0), (0.5, 8..=32)] {
        let scene = scene(Conditions::default().abandoning(chance), Conditions::default()).await;
        for _ in 0..40 {
            let gone = CallOptions::timeout(Duration::from_millis(50));
            assert!(scene.channel.request("x".into(), gone).await.is_err());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (seen, done) = (scene.seen().len(), scene.service.ended.load(Ordering::SeqCst));
        assert!(seen == 40 && ended.contains(&done), "{done} of {seen} came to their end with {chance}");
        assert_eq!(scene.fates(Kind::Request, |fate| fate == Fate::Abandoned), 40 - done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_what_runs_on_a_host_and_its_name_is_free() {
    let scene = scene(Conditions::default(), Conditions::default()).await;
    let crash = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.network.crash("far");
    };
    let (answer, ()) = tokio::join!(scene.channel.request("x".into(), soon()), crash);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!((scene.seen().len(), scene.service.ended.load(Ordering::SeqCst)), (1, 0));
    assert!(scene.far.addresses().is_empty());
    assert_eq!(scene.far.dial(&address("near"), soon()).await.map(drop).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(scene.channel.request("x".into(), soon()).await.unwrap_err().kind(), ErrorKind::Unreachable);
    let again = scene.network.transport("far");
    again.listen(scene.service.clone()).await.unwrap();
    assert_eq!(scene.channel.request("x".into(), soon()).await.unwrap(), "x");
    // And the calls of the host that crashes end as well.
    let crash = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.network.crash("near");
    };
    let (answer, ()) = tokio::join!(scene.channel.request("x".into(), soon()), crash);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_trace_is_bounded_and_its_digest_covers_all() {
    let (network, near, _far) = pair(1).await;
    let channel = dial(&near).await;
    let mut digests = std::collections::BTreeSet::new();
    for number in 0..4_200u32 {
        channel.request(number.to_be_bytes().to_vec().into(), soon()).await.unwrap();
        digests.insert(network.trace_digest().1);
    }
    assert_eq!(network.trace().len(), 16_384);
    assert_eq!((network.trace_digest().0, digests.len()), (4 + 4 * 4_200, 4_200));
    let last = network.trace().pop().unwrap();
    assert_eq!((last.kind, last.fate, &*last.from), (Kind::Reply, Fate::Arrived, "far"));
    network.reset_traffic();
    assert_eq!(network.total().messages, 0);
}
