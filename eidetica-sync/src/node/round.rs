//! One round on a lane: reaches the peer, and brings both sides to the same state.

use std::sync::{Arc, Mutex, PoisonError};

use eidetica_contract::{Error, ErrorKind, Result};

use super::events::SyncEvent;
use super::shared::Shared;
use super::talk;
use crate::reconcile::{Outcome, Progress};
use crate::schedule::{Behind, Failure, Lane, Progress as Told, RoundId, Scope};

/// Why a round has come to nothing.
pub(crate) struct Unsuccessful {
    /// Whether the peer was reached, and has proven its key.
    pub reached: bool,
    pub error: Error,
}

impl Unsuccessful {
    /// What has to wait: without a word from the peer, all of its lanes.
    pub fn failure(&self) -> Failure {
        match self.reached {
            true => Failure::of(&self.error),
            false => Failure::within(Scope::Peer, &self.error),
        }
    }
}

/// One round on a lane.
#[tracing::instrument(level = "debug", name = "round", skip_all, fields(peer = %lane.peer, database = %lane.database))]
pub(crate) async fn play(
    shared: Arc<Shared>,
    round: RoundId,
    lane: Lane,
    asked: bool,
) -> Result<Outcome, Unsuccessful> {
    let pass = shared.served.enter(&lane.database);
    if pass.is_none() && !asked {
        let message = "nobody wishes this database synced any longer";
        let error = Error::new(ErrorKind::Conflict, message).with("database", lane.database);
        return Err(Unsuccessful { reached: true, error });
    }
    let link = shared.link(lane.peer).await.map_err(|error| Unsuccessful { reached: false, error })?;
    let told = Mutex::new(Progress::default());
    let progress = |progress: Progress| {
        let before = std::mem::replace(&mut *told.lock().unwrap_or_else(PoisonError::into_inner), progress);
        let told = Told {
            received: progress.received.saturating_sub(before.received),
            sent: progress.sent.saturating_sub(before.sent),
            behind: Some(Behind { here: progress.left, there: progress.unsent }),
        };
        shared.tell(|schedule, now| schedule.progressed(now, round, told));
        shared.tell_event(SyncEvent::Progressed { peer: lane.peer, database: lane.database, progress });
    };
    let result = talk::sync(&shared, &link, lane.database, &progress).await;
    drop(pass);
    result.map_err(|error| {
        shared.note_broken(&link, &error);
        Unsuccessful { reached: true, error }
    })
}
