//! Sessions on a hostile network: what is answered is right, and nothing is done twice that was asked once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eidetica_contract::{CallOptions, Caller, Channel, Result, Service, Transport};
use eidetica_core::SecretKey;
use eidetica_sync::session::{Identity, Offer, Received, SessionChannel, SessionLimits, Sessions};
use eidetica_sync::sim::{self, Conditions, Fate, World};
use tokio::time::Instant;

use super::transport::address;

const MAX: usize = 1 << 20;

/// Echoes what sessions bring, and notes it.
struct Answering {
    sessions: Mutex<Sessions>,
    start: Instant,
    seen: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl Service for Answering {
    async fn handle(&self, caller: Caller, message: Bytes) -> Result<Bytes> {
        let now = self.start.elapsed();
        let request = match self.sessions.lock().unwrap().receive(now, &caller, MAX, &message)? {
            Received::Answer(answer) => return Ok(answer),
            Received::Request(request) => request,
        };
        self.seen.lock().unwrap().push(request.payload.clone());
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(self.sessions.lock().unwrap().reply(self.start.elapsed(), request.token, request.payload).seal())
    }
}

/// How many requests were answered rightly, wrongly, not at all; and what the service has seen.
async fn story(world: World, conditions: Conditions) -> (usize, usize, usize, Vec<Bytes>, Vec<Fate>) {
    let identity = |seed: u8, host| Identity::new(SecretKey::from_seed(&[seed; 32]), world.environment(host)).unwrap();
    let far = world.network.transport("far");
    let sessions = Sessions::new(identity(2, "far"), Offer::versions(1, 1), SessionLimits::default());
    let answering =
        Arc::new(Answering { sessions: Mutex::new(sessions), start: Instant::now(), seen: Mutex::default() });
    far.listen(answering.clone()).await.unwrap();
    let near = world.network.transport("near");
    let channel: Arc<dyn Channel> = near.dial(&address("far"), CallOptions::default()).await.unwrap().into();
    let (me, pin) = (identity(1, "near"), SecretKey::from_seed(&[2; 32]).public());
    let session = SessionChannel::new(channel, MAX, me, Offer::versions(1, 1), SessionLimits::default(), Some(pin));
    let session = Arc::new(session.unwrap());
    world.network.everywhere(conditions);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..200u32 {
        let session = session.clone();
        calls.spawn(async move {
            let payload = Bytes::from(number.to_be_bytes().repeat(10));
            let answer = session.request(payload.clone(), CallOptions::timeout(Duration::from_secs(20))).await;
            answer.ok().map(|answer| answer == payload)
        });
        tokio::time::sleep(Duration::from_millis(11)).await;
    }
    let answers = calls.join_all().await;
    let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
    let seen = answering.seen.lock().unwrap().clone();
    let fates = world.network.trace().into_iter().map(|event| event.fate).collect();
    (count(Some(true)), count(Some(false)), count(None), seen, fates)
}

#[test]
fn a_request_that_is_replayed_is_done_once() {
    for seed in sim::seeds(3) {
        let conditions = Conditions::default().replaying(0.5);
        let (right, wrong, none, mut seen, fates) = sim::run(seed, move |world| story(world, conditions));
        assert_eq!((right, wrong, none), (200, 0, 0));
        assert!(fates.iter().filter(|fate| matches!(fate, Fate::Replayed(_))).count() > 60);
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((all, seen.len()), (200, 200));
    }
}

#[test]
fn what_is_answered_is_right_whatever_is_done_to_messages() {
    let mut answered = 0;
    for seed in sim::seeds(6) {
        let (right, wrong, none, seen, fates) = sim::run(seed, |world| story(world, Conditions::hostile()));
        assert_eq!(wrong, 0, "seed {seed}");
        // As many as come through: if the one greeting is lost that all wait for, none of them.
        assert_eq!(right + none, 200);
        answered += right;
        assert!(seen.iter().all(|payload| payload.len() == 40), "nothing was seen that was not sent");
        assert!(fates.contains(&Fate::Changed) && fates.contains(&Fate::Lost), "seed {seed}");
    }
    assert!(answered > 60 || std::env::var_os("EIDETICA_SEED").is_some(), "only {answered} were answered");
}
