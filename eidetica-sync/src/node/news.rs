//! Watching a peer for news: one request at a time that is answered when there are some.

use std::collections::BTreeMap;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, PublicKey, Result};
use eidetica_core::Id;
use tokio::time::{Instant, sleep_until};

use super::links::ANSWER;
use super::shared::Shared;
use super::talk::{introduce, was_removed};
use crate::message::{Held, MAX_DATABASES, Reply, Request};

/// How long a peer is asked to wait.
const LONGEST: Duration = Duration::from_secs(25);
/// A peer that answers without news is asked anew after ever longer pauses, up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a peer has told of a database, and what was here then.
struct Told {
    there: [u8; 32],
    here: Option<[u8; 32]>,
}

/// Watches a peer for news of these databases until it fails.
pub(crate) async fn watch(shared: &Shared, peer: PublicKey, databases: &[Id]) -> Error {
    let mut told = BTreeMap::new();
    let mut pause = Duration::ZERO;
    let mut before = heads(shared, databases);
    loop {
        let began = Instant::now();
        match once(shared, peer, databases, &mut told).await {
            Err(error) => return error,
            // News that have led to something: a peer that only says so is not believed for long.
            Ok(true) if heads(shared, databases) != before => {
                before = heads(shared, databases);
                pause = Duration::ZERO;
            }
            Ok(_) => {
                sleep_until(began + pause).await;
                pause = (pause * 2 + Duration::from_millis(1)).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether the last round with a peer has ended with the peer not giving the database to this device.
fn is_refused(shared: &Shared, peer: PublicKey, id: &Id) -> bool {
    let failure = shared.schedule().lane(peer, *id).and_then(|lane| lane.last_failure);
    failure.is_some_and(|(_, failure)| refuses(failure.kind))
}

fn refuses(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Pending | ErrorKind::PermissionDenied)
}

fn heads(shared: &Shared, databases: &[Id]) -> Vec<Option<[u8; 32]>> {
    databases.iter().map(|id| shared.served.digest(id)).collect()
}

/// Asks once: true if there were news.
async fn once(shared: &Shared, peer: PublicKey, databases: &[Id], told: &mut BTreeMap<Id, Told>) -> Result<bool> {
    let link = shared.link(peer).await?;
    let mut by_tag = BTreeMap::new();
    let mut held = Vec::new();
    for id in databases.iter().take(MAX_DATABASES) {
        let here = shared.served.digest(id);
        // News that were told already are not told again: the round that they led to may still be under way, or fail.
        let known = told.get(id).filter(|told| told.here == here).map(|told| told.there);
        // Who may not read, as far as is known here, is not told what is here, either.
        let own = here.filter(|_| !is_refused(shared, peer, id));
        let (database, digest) = (link.tag(id), known.or(own).unwrap_or_default());
        held.push(Held { database, digest });
        by_tag.insert(database, *id);
    }
    let request = Request::Watch { millis: LONGEST.as_millis() as u32, databases: held };
    let result = tokio::select! {
        biased;
        result = link.ask(&request, LONGEST + ANSWER) => result,
        // What has failed for others will hardly bring an answer: that of a request which was lost would be waited for long.
        () = link.broken() => return Ok(false),
    };
    let reply = result.inspect_err(|error| shared.note_broken(&link, error))?;
    let changed = match reply {
        Reply::Introduce => {
            introduce(shared, &link, databases, Vec::new()).await?;
            for id in databases {
                if link.served(id).is_none() && !is_refused(shared, peer, id) && was_removed(&link, *id).await? {
                    // A round tells it to whoever asks how the database stands. It is waited for by nobody.
                    shared.tell(|schedule, now| schedule.ask(now, peer, *id));
                }
            }
            return Ok(false);
        }
        Reply::Changed(changed) => changed,
        _ => return Err(link.misspoken()),
    };
    let mut news = Vec::new();
    for Held { database, digest } in changed {
        let Some(id) = by_tag.get(&database) else { return Err(link.misspoken()) };
        let here = shared.served.digest(id);
        let before = told.insert(*id, Told { there: digest, here });
        if here != Some(digest) && before.is_none_or(|before| before.there != digest || before.here != here) {
            news.push(*id);
        }
    }
    shared.tell(|schedule, now| {
        schedule.answered(now, peer);
        for id in &news {
            let failure = schedule.lane(peer, *id).and_then(|lane| lane.last_failure);
            match failure {
                // It is given to this device now: there is no reason to wait any longer.
                Some((_, failure)) if refuses(failure.kind) && shared.served.is_served(id) => {
                    // The round is waited for by nobody.
                    let _ = schedule.ask(now, peer, *id);
                }
                _ => schedule.news(now, peer, *id),
            }
        }
    });
    Ok(!news.is_empty())
}
