//! The task of a node: does what the schedule says, and tells it what has become of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::desk::Heard;
use super::events::SyncEvent;
use super::round::{Unsuccessful, play};
use super::shared::Shared;
use super::welcomes::Welcomes;
use super::{farewells, heralds, news, others, pulse};
use crate::access::Filed;
use crate::reconcile::Outcome;
use crate::schedule::{Done, Effect, End, Failure, Lane, RoundId};

/// A peer that asks anew within this time has never ceased to watch.
const BETWEEN_WATCHES: Duration = Duration::from_secs(2);
/// How long a peer may go on talking until it is looked whether it has what is new.
const DOUBT: Duration = Duration::from_millis(100);
/// How long peers are told at the end that there is nobody here any longer.
const GOODBYE: Duration = Duration::from_millis(500);

/// Everything that runs, each task owned by the set that it lies in: all of it ends with the driver.
struct Driver {
    shared: Arc<Shared>,
    rounds: JoinSet<Result<Outcome, Unsuccessful>>,
    by_task: BTreeMap<tokio::task::Id, (RoundId, Lane)>,
    by_round: BTreeMap<RoundId, AbortHandle>,
    watches: JoinSet<Error>,
    /// The watch of each peer.
    watching: BTreeMap<PublicKey, AbortHandle>,
    /// What the schedule wants watched.
    to_watch: BTreeMap<PublicKey, Vec<Id>>,
    /// Databases that a peer did not give to this device when it was asked last. It is watched for the day when it does.
    hopes: BTreeMap<PublicKey, BTreeSet<Id>>,
    pulses: JoinSet<()>,
    /// The pulse of each database, and the number of the gate that it is told to.
    beating: BTreeMap<Id, (u64, AbortHandle)>,
    /// The version of what is served that is followed by now.
    followed: Option<u64>,
    beats: mpsc::Sender<(Id, [u8; 32])>,
    /// Puts down what a peer has told of itself; one at a time.
    welcomes: JoinSet<()>,
    /// What peers have told meanwhile.
    to_welcome: Welcomes,
    /// Looks whether rights have ended; one look at a time.
    reviews: JoinSet<()>,
    /// Databases that have other heads since, and thus perhaps other rights.
    to_review: BTreeSet<Id>,
    /// Put down requests for access; the book bounds how many.
    filings: JoinSet<()>,
    /// Stores what peers have; at most one at a time.
    saves: JoinSet<()>,
    /// Peers that watched until now, and until when they count as if they did.
    leaving: BTreeMap<PublicKey, Instant>,
    /// Lanes of peers that were just talking about a database when its heads changed: mostly they have brought the change, or learn
    /// of it in the same talk. When it is looked whether they have it, if they do not say so before.
    doubtful: BTreeMap<Lane, Instant>,
}

/// Runs until it is told to stop, or nobody is left who could. Everything that it began has ended when it returns, and
/// all servers and transports are closed.
pub(crate) async fn run(
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    heard: mpsc::Receiver<Heard>,
    stop: oneshot::Receiver<()>,
) {
    let mut wishes = JoinSet::new();
    wishes.spawn(follow_wishes(shared.clone(), changed));
    wishes.spawn(farewells::say(shared.clone()));
    wishes.spawn(others::follow(shared.clone()));
    wishes.spawn(heralds::run(shared.clone()));
    // In a task of its own, so that a defect does not leave servers behind, and callers who wait for ever.
    let mut turns = JoinSet::new();
    turns.spawn(turn(shared.clone(), heard, stop));
    if let Some(Err(error)) = turns.join_next().await {
        tracing::error!(%error, "sync has ended by a defect of this program");
    }
    // Those who wait for news would be waited for.
    shared.desk.close();
    if let Err(error) = shared.transports.stop_listening().await {
        tracing::debug!(%error, "a server could not be stopped");
    }
    wishes.shutdown().await;
    shared.end_waits();
    shared.links.close(GOODBYE).await;
    shared.transports.close().await;
    if let Err(error) = shared.frontiers.save().await {
        tracing::debug!(%error, "what peers have is not remembered; they will be asked anew");
    }
}

/// Turns until it is told to stop.
async fn turn(shared: Arc<Shared>, mut heard: mpsc::Receiver<Heard>, mut stop: oneshot::Receiver<()>) {
    let (beats, mut beat) = mpsc::channel(256);
    let mut driver = Driver {
        shared: shared.clone(),
        rounds: JoinSet::new(),
        by_task: BTreeMap::new(),
        by_round: BTreeMap::new(),
        watches: JoinSet::new(),
        watching: BTreeMap::new(),
        to_watch: BTreeMap::new(),
        hopes: BTreeMap::new(),
        pulses: JoinSet::new(),
        beating: BTreeMap::new(),
        followed: None,
        beats,
        welcomes: JoinSet::new(),
        to_welcome: Welcomes::default(),
        reviews: JoinSet::new(),
        to_review: BTreeSet::new(),
        filings: JoinSet::new(),
        saves: JoinSet::new(),
        leaving: BTreeMap::new(),
        doubtful: BTreeMap::new(),
    };
    loop {
        driver.follow_databases().await;
        let effects = shared.schedule().poll(shared.now());
        effects.into_iter().for_each(|effect| driver.act(effect));
        // An interval may be longer than time is counted: then there is nothing to wake for.
        let wake = shared.schedule().next_wake();
        let wake = wake.and_then(|at| Instant::now().checked_add(at.saturating_sub(shared.now())));
        let waits = driver.leaving.values().chain(driver.doubtful.values()).min().copied();
        let wake = wake.into_iter().chain(waits).min();
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(ended) = driver.rounds.join_next_with_id() => driver.round_ended(ended),
            Some(ended) = driver.watches.join_next_with_id() => driver.watch_ended(ended),
            Some(_) = driver.pulses.join_next() => {}
            Some(_) = driver.saves.join_next() => {}
            Some(_) = driver.filings.join_next() => {}
            Some(_) = driver.welcomes.join_next() => driver.welcome(),
            Some(_) = driver.reviews.join_next() => driver.review(),
            Some((id, digest)) = beat.recv() => driver.beat(id, digest),
            Some(what) = heard.recv() => driver.hear(what),
            () = shared.poke.notified() => {}
            () = maybe(wake) => driver.let_go(),
        }
    }
    // Whoever tells something of a peer does not wait for anybody to hear it any longer.
    heard.close();
    driver.rounds.shutdown().await;
    driver.watches.shutdown().await;
    driver.pulses.shutdown().await;
    // These end by themselves; none is cut off.
    while driver.saves.join_next().await.is_some() {}
    while driver.filings.join_next().await.is_some() {}
    while driver.welcomes.join_next().await.is_some() {}
    while driver.reviews.join_next().await.is_some() {}
}

/// Goes by what is wished, whenever that may have changed.
async fn follow_wishes(shared: Arc<Shared>, mut changed: watch::Receiver<u64>) {
    while changed.changed().await.is_ok() {
        if let Err(error) = shared.reload_wishes().await {
            tracing::warn!(%error, "what is wished for databases cannot be read");
        }
    }
}

/// Sleeps until then; without a time, for ever.
async fn maybe(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Feels the pulse of every database that is served and here, and of no other.
    async fn follow_databases(&mut self) {
        let version = self.shared.served.version();
        if self.followed == Some(version) {
            return;
        }
        self.followed = Some(version);
        let gates = self.shared.served.gates();
        self.beating.retain(|id, (gate, task)| {
            let stays = gates.get(id) == Some(gate);
            if !stays {
                task.abort();
            }
            stays
        });
        let hopeless = |hopes: &mut BTreeSet<Id>| {
            let before = hopes.len();
            hopes.retain(|id| gates.contains_key(id));
            hopes.len() < before
        };
        let changed: Vec<PublicKey> =
            self.hopes.iter_mut().filter_map(|(peer, hopes)| hopeless(hopes).then_some(*peer)).collect();
        changed.into_iter().for_each(|peer| self.watch(peer));
        for (id, gate) in gates {
            if self.beating.contains_key(&id) {
                continue;
            }
            match self.shared.here(&id).await {
                Ok(Some(database)) => {
                    let (served, beats) = (self.shared.served.clone(), self.beats.clone());
                    let task = self.pulses.spawn(pulse::beat(database, served, beats));
                    self.beating.insert(id, (gate, task));
                }
                // It comes with the first round.
                Ok(None) => {}
                Err(error) => tracing::warn!(database = %id, %error, "a database cannot be opened"),
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Start { round, lane, reasons } => {
                let asked = reasons.contains(crate::schedule::Reason::Asked);
                self.shared.steps.note_round(lane, true);
                let task = self.rounds.spawn(play(self.shared.clone(), round, lane, asked));
                self.by_task.insert(task.id(), (round, lane));
                self.by_round.insert(round, task);
            }
            Effect::Abort { round, .. } => {
                if let Some(task) = self.by_round.get(&round) {
                    task.abort();
                }
            }
            Effect::Watch { peer, databases } => {
                self.to_watch.insert(peer, databases);
                self.watch(peer);
            }
            Effect::Unwatch { peer } => {
                self.to_watch.remove(&peer);
                self.watch(peer);
            }
        }
    }

    /// Watches a peer for what is to be watched and for what is hoped for; if that is nothing, no longer.
    fn watch(&mut self, peer: PublicKey) {
        if let Some(task) = self.watching.remove(&peer) {
            task.abort();
        }
        let mut databases: BTreeSet<Id> = self.to_watch.get(&peer).into_iter().flatten().copied().collect();
        databases.extend(self.hopes.get(&peer).into_iter().flatten());
        if databases.is_empty() {
            return;
        }
        let (shared, databases) = (self.shared.clone(), databases.into_iter().collect::<Vec<Id>>());
        let task = self.watches.spawn(async move { news::watch(&shared, peer, &databases).await });
        self.watching.insert(peer, task);
    }

    /// Notes whether a database is one that the peer does not give to this device, for now.
    fn hope(&mut self, lane: Lane, result: &Result<Outcome>) {
        let refused = |error: &Error| matches!(error.kind(), ErrorKind::Pending | ErrorKind::PermissionDenied);
        let hopes = self.hopes.entry(lane.peer).or_default();
        let changed = match result {
            Err(error) if refused(error) && self.shared.served.is_served(&lane.database) => hopes.insert(lane.database),
            _ => hopes.remove(&lane.database),
        };
        if hopes.is_empty() {
            self.hopes.remove(&lane.peer);
        }
        if changed {
            self.watch(lane.peer);
        }
    }

    fn round_ended(&mut self, ended: Result<(tokio::task::Id, Result<Outcome, Unsuccessful>), tokio::task::JoinError>) {
        let (task, result) = match ended {
            Ok((task, result)) => (task, Some(result)),
            Err(error) if error.is_cancelled() => (error.id(), None),
            Err(error) => {
                let error_id = error.id();
                let message = "a round has ended early by a defect of this program or of a transport";
                let error = Error::new(ErrorKind::Internal, message).caused_by(error.to_string());
                (error_id, Some(Err(Unsuccessful { reached: false, error })))
            }
        };
        let Some((round, lane)) = self.by_task.remove(&task) else { return };
        self.shared.steps.note_round(lane, false);
        // The peer may have been asked to wait for this.
        self.shared.served.tell();
        self.by_round.remove(&round);
        let end = match &result {
            None => End::Aborted,
            Some(Ok(outcome)) => {
                // What does not count on one side is nothing that is still to be done.
                let complete = outcome.complete || outcome.standoff.is_some();
                End::Done(Done { complete, received: 0, sent: 0 })
            }
            Some(Err(failed)) => End::Failed(failed.failure()),
        };
        let given_up = || {
            let message = "the round was given up, since the database is no longer synced";
            Err(Error::new(ErrorKind::Conflict, message).with("database", lane.database))
        };
        let result = result.map_or_else(given_up, |result| result.map_err(|failed| failed.error));
        let shared = &self.shared;
        shared.tell(|schedule, now| {
            schedule.ended(now, round, end, &mut || shared.random());
            let reached = schedule.peer(lane.peer).is_some_and(|peer| peer.dialable && peer.answering);
            shared.steps.note_reached(lane.peer, reached);
            if reached {
                // It is sent what is new: its watch here leaves to this side what this side can send, and both must not leave it to
                // each other.
                schedule.watched_by(now, lane.peer, BTreeSet::new());
            }
        });
        self.in_step(lane);
        if !self.beating.contains_key(&lane.database) {
            // It may be here by now.
            self.followed = None;
        }
        self.hope(lane, &result);
        self.shared.round_ended(lane, round, &result);
        self.save_frontiers();
        let (peer, database) = (lane.peer, lane.database);
        self.shared.tell_event(match result {
            Ok(outcome) => SyncEvent::Synced { peer, database, outcome },
            Err(error) => {
                let Failure { kind, text, context, .. } = Failure::of(&error);
                SyncEvent::Failed { peer, database, kind, text, context }
            }
        });
    }

    /// Stores what peers have now and then: a hint is not worth a flush for each round.
    fn save_frontiers(&mut self) {
        const SOME: usize = 64;
        if self.shared.frontiers.unsaved() >= SOME && self.saves.is_empty() {
            let frontiers = self.shared.frontiers.clone();
            self.saves.spawn(async move {
                if let Err(error) = frontiers.save().await {
                    tracing::debug!(%error, "what peers have cannot be stored");
                }
            });
        }
    }

    fn watch_ended(&mut self, ended: Result<(tokio::task::Id, Error), tokio::task::JoinError>) {
        let (task, error) = match ended {
            Ok((task, error)) => (task, error),
            Err(error) => {
                let message = "a watch has ended early by a defect of this program or of a transport";
                (error.id(), Error::new(ErrorKind::Internal, message).caused_by(error))
            }
        };
        // One that was replaced says nothing of the peer.
        let Some(peer) = self.watching.iter().find(|(_, watch)| watch.id() == task).map(|(peer, _)| *peer) else {
            return;
        };
        tracing::debug!(%peer, %error, "a watch has ended");
        self.watching.remove(&peer);
        self.to_watch.remove(&peer);
        // The next round tells whether there is still something to hope for.
        self.hopes.remove(&peer);
        let shared = &self.shared;
        shared.tell(|schedule, now| schedule.watch_failed(now, peer, &mut || shared.random()));
    }

    /// A database has other heads: all peers are to have them that do not, and may read it still.
    fn beat(&mut self, id: Id, digest: [u8; 32]) {
        self.to_review.insert(id);
        self.review();
        let (shared, doubtful) = (&self.shared, &mut self.doubtful);
        shared.tell(|schedule, now| {
            schedule.arrived(now, id, None);
            let mark = schedule.mark(&id);
            let peers: Vec<PublicKey> = schedule.peers_of(&id).collect();
            for peer in peers {
                let has = shared.steps.is_in_step(&peer, &id, &digest);
                if !has && shared.steps.is_talking(&peer, &id) {
                    doubtful.insert(Lane { peer, database: id }, Instant::now() + DOUBT);
                } else if !has {
                    continue;
                }
                schedule.served(now, peer, id, mark);
            }
        });
    }

    /// Looks whether a peer that was talking has what is here, and has it told otherwise.
    fn resolve(&mut self, lane: Lane) {
        if self.doubtful.remove(&lane).is_none() {
            return;
        }
        let shared = &self.shared;
        let latest = shared.served.digest(&lane.database);
        if latest.is_some_and(|digest| !shared.steps.is_in_step(&lane.peer, &lane.database, &digest)) {
            shared.tell(|schedule, now| schedule.news(now, lane.peer, lane.database));
        }
    }

    /// If a peer has what is here, it need not be told.
    fn in_step(&self, lane: Lane) {
        if let Some(digest) = self.shared.served.digest(&lane.database) {
            self.in_step_with(lane, digest);
        }
    }

    fn in_step_with(&self, lane: Lane, digest: [u8; 32]) {
        let shared = &self.shared;
        let latest = shared.served.digest(&lane.database) == Some(digest);
        if latest && shared.steps.is_in_step(&lane.peer, &lane.database, &digest) {
            shared.tell(|schedule, now| {
                let mark = schedule.mark(&lane.database);
                schedule.served(now, lane.peer, lane.database, mark);
            });
        }
    }

    /// Puts down what peers have told of themselves, one after the other, beside everything else.
    fn welcome(&mut self) {
        if !self.welcomes.is_empty() {
            return;
        }
        let Some(welcome) = self.to_welcome.take() else { return };
        let (shared, peer) = (self.shared.clone(), welcome.peer);
        self.welcomes.spawn(async move {
            if let Err(error) = shared.welcome(welcome).await {
                tracing::warn!(%peer, %error, "what a peer has told cannot be stored");
            }
        });
    }

    /// Looks whether rights have ended, beside everything else.
    fn review(&mut self) {
        if !self.reviews.is_empty() {
            return;
        }
        let Some(id) = self.to_review.pop_first() else { return };
        let shared = self.shared.clone();
        self.reviews.spawn(async move {
            match shared.review(id).await {
                Err(error) if error.kind() != ErrorKind::Closed => {
                    tracing::warn!(database = %id, %error, "whose right has ended cannot be read; it is looked again with the next change");
                }
                _ => {}
            }
        });
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Introduced(welcome) => {
                self.to_welcome.add(welcome);
                self.welcome();
            }
            Heard::Begun => self.followed = None,
            Heard::Asked(filing) => {
                let shared = self.shared.clone();
                self.filings.spawn(async move {
                    match filing.file().await {
                        Ok(Filed::Kept) => shared.tell_event(SyncEvent::AccessRequested),
                        Ok(Filed::Dropped) => {
                            tracing::debug!("a request for access found no room, or was decided meanwhile")
                        }
                        Err(error) => tracing::warn!(%error, "a request for access cannot be put down"),
                    }
                });
            }
            Heard::InStep { lane, digest } => {
                self.shared.tell(|schedule, now| schedule.compared(now, lane.peer, lane.database));
                self.in_step_with(lane, digest);
                self.resolve(lane);
            }
            Heard::Waits { peer, databases } if databases.is_empty() => {
                self.leaving.insert(peer, Instant::now() + BETWEEN_WATCHES);
            }
            Heard::Waits { peer, databases } => {
                self.leaving.remove(&peer);
                // Whom this node reaches it sends what is new by itself.
                let databases = if self.shared.steps.reaches(&peer) { Vec::new() } else { databases };
                self.shared.tell(|schedule, now| schedule.watched_by(now, peer, databases.into_iter().collect()));
            }
        }
    }

    /// Peers that have not asked anew watch no longer.
    fn let_go(&mut self) {
        let now = Instant::now();
        let gone: Vec<PublicKey> = self.leaving.iter().filter(|(_, at)| **at <= now).map(|(peer, _)| *peer).collect();
        let due: Vec<Lane> = self.doubtful.iter().filter(|(_, at)| **at <= now).map(|(lane, _)| *lane).collect();
        due.into_iter().for_each(|lane| self.resolve(lane));
        for peer in gone {
            self.leaving.remove(&peer);
            self.shared.tell(|schedule, now| schedule.watched_by(now, peer, Default::default()));
        }
    }
}
