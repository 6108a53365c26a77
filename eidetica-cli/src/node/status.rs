//! How a store stands with its peers, as JSON.

use std::time::Duration;

use eidetica::sync::access::AskedRequests;
use eidetica::sync::peers::{PeerLimits, Peers, Relationship};
use eidetica::sync::{Address, SyncState, Syncer};
use eidetica::{Error, Instance};
use serde_json::{Value as Json, json};

/// All of it. Without sync only what is stored is told.
pub async fn tell(instance: &Instance, sync: Option<&Syncer>) -> Result<Json, Error> {
    let peers = Peers::new(instance.engine().clone(), PeerLimits::default());
    let mut related = Vec::new();
    for one in peers.relationships().await? {
        related.push(relationship(instance, sync, &one).await?);
    }
    let mut asked = Vec::new();
    for one in AskedRequests::new(instance.engine().clone(), instance.device_id()).all().await? {
        let wanted = one.request.wanted();
        let state = match one.answer.map(|answer| answer.into_result(wanted)) {
            None => "unanswered",
            Some(Ok(_)) => continue,
            Some(Err(error)) if error.kind() == eidetica::ErrorKind::Pending => "pending",
            Some(Err(_)) => "rejected",
        };
        let (database, to) = (wanted.database.to_string(), one.request.to().to_string());
        asked.push(json!({ "database": database, "to": to, "state": state }));
    }
    let serving = match sync {
        Some(sync) => {
            let addresses = sync.get_all_server_addresses_async().await?;
            let listening: Vec<Json> = addresses.iter().map(listening).collect();
            let addresses: Vec<String> = addresses.into_iter().map(|(_, address)| address.to_string()).collect();
            json!({ "process": std::process::id(), "addresses": addresses, "listening": listening })
        }
        None => Json::Null,
    };
    let device = instance.device_id().to_string();
    Ok(json!({ "device": device, "serving": serving, "relationships": related, "asked": asked }))
}

/// A transport that lets peers in, and the address that leads to it.
pub fn listening((label, address): &(String, Address)) -> Json {
    json!({ "transport": label, "address": address.to_string() })
}

async fn relationship(instance: &Instance, sync: Option<&Syncer>, one: &Relationship) -> Result<Json, Error> {
    let here = match instance.open_database_with_key(&one.database, None).await {
        Ok(database) => Some(database),
        Err(error) if error.kind() == eidetica::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let entries = match &here {
        Some(database) => database.entry_count().await?,
        None => 0,
    };
    let mut told = json!({
        "peer": one.peer.to_string(), "database": one.database.to_string(), "declared": one.declared, "entries": entries,
        "state": "not served",
    });
    let (Some(sync), Json::Object(told_map)) = (sync, &mut told) else { return Ok(told) };
    let status = match one.peer.key() {
        Ok(peer) => sync.handle(&peer, &one.database).status(),
        Err(error) => Err(error),
    };
    let more = match status {
        Ok(status) => json!({
            "state": state(status.state), "connected": status.connected, "unsent": status.unsent,
            "last_success_seconds": seconds(status.last_success), "next_attempt_seconds": seconds(status.next_attempt),
            "last_error": status.last_error.map(|(ago, kind, text)| {
                let context = pairs(&status.last_error_context);
                json!({ "seconds_ago": ago.as_secs_f64(), "kind": format!("{kind:?}"), "text": text, "context": context })
            }),
            "behind": status.behind_here, "peer_behind": status.behind_there, "received": status.received, "sent": status.sent, "rounds": status.rounds,
        }),
        Err(error) => json!({
            "state": "not a peer",
            "last_error": { "seconds_ago": 0.0, "kind": format!("{:?}", error.kind()), "text": error.message() },
        }),
    };
    if let Json::Object(more) = more {
        told_map.extend(more);
    }
    Ok(told)
}

/// Context pairs of an error, as they are shown everywhere.
pub fn pairs(context: &[(String, String)]) -> Json {
    Json::Object(context.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

fn state(state: SyncState) -> &'static str {
    match state {
        SyncState::Idle => "idle",
        SyncState::Waiting => "waiting",
        SyncState::Running => "running",
        SyncState::BackingOff => "backing off",
        SyncState::NotWished => "not wished",
        SyncState::NoAddress => "no address",
        SyncState::Ended => "ended",
        _ => "unknown",
    }
}
