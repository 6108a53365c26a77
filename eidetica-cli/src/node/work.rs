//! What a node does when it is asked.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eidetica::crdt::Doc;
use eidetica::store::Table;
use eidetica::sync::peers::{PeerLimits, Peers};
use eidetica::sync::{Address, SyncEvent, SyncedDatabase, Syncer, access};
use eidetica::{Error, ErrorKind, Id, Instance, PublicKey};
use eidetica_backend_lent::SpokenError;
use serde_json::{Value as Json, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use super::spoken::{Moved, Operation};
use super::status;
use super::transports::{address as address_of, in_full};

/// Who is told what moves.
pub type Tell<'t> = &'t mut (dyn FnMut(Json) + Send);

/// Does it. Without sync there is nothing to be done but to tell what is stored. `fresh`: the node was started for this
/// operation, so that whatever it has moved by itself counts as done by it.
pub async fn run(
    instance: &Instance,
    sync: Option<&Syncer>,
    fresh: bool,
    operation: Operation,
    tell: Tell<'_>,
) -> Result<Json, Error> {
    let Some(sync) = sync else { return status::tell(instance, None).await };
    match operation {
        Operation::Status => status::tell(instance, Some(sync)).await,
        Operation::CatchUp => sync.catch_up().await.map(|()| Json::Null),
        Operation::Contact { address } => {
            let peer = sync.connect_to_peer(&address_of(&address)).await?;
            Ok(json!({ "peer": peer.to_string() }))
        }
        Operation::Reach { ticket } => {
            let (peer, address) = sync.reach(&ticket.parse()?).await?;
            Ok(json!({ "peer": peer.to_string(), "address": in_full(&address) }))
        }
        Operation::Discover { address } => {
            let found = sync.discover_peer_trees(&address_of(&address)).await?;
            Ok(found.into_iter().map(|(id, name)| json!({ "id": id.to_string(), "name": name })).collect())
        }
        Operation::Request { address, to, request } => {
            // What is wished was written by the command.
            sync.catch_up().await?;
            let request = read_request(instance, &to, &request)?;
            let answer = sync.request_access(&address_of(&address), &request).await?;
            let permission = answer.into_result(request.wanted())?;
            Ok(json!({ "permission": format!("{permission:?}") }))
        }
        Operation::Sync { address, database } => {
            sync.catch_up().await?;
            let database = database.map(|id| id.parse()).transpose()?;
            let (sync, instance) = (sync.clone(), instance.clone());
            let mut events = sync.events();
            let before = if fresh { Totals::new() } else { totals(&instance, &sync).await? };
            let work = async {
                let mut rounds = match address {
                    Some(address) => with_address(&sync, &address_of(&address), database.as_ref()).await?,
                    None => with_all(&instance, &sync, database.as_ref()).await?,
                };
                count_all(&mut rounds, &before, &totals(&instance, &sync).await?);
                Ok::<_, Error>(Json::Array(rounds))
            };
            tokio::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    event = events.recv() => match event {
                        Ok(event) => about(event, database.as_ref()).into_iter().for_each(&mut *tell),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return work.await,
                    },
                }
            }
        }
        Operation::Put { database, table, key, field, value } => {
            let user = instance.login_user(crate::session::DEFAULT_USER, None).await?;
            let database = user.open_database(&database.parse()?).await?;
            let transaction = database.new_transaction().await?;
            let row: Doc = [(field, value)].into_iter().collect();
            transaction.get_store::<Table<Doc>>(&table).await?.set(&key, &row).await?;
            Ok(json!({ "entry": transaction.commit().await?.to_string() }))
        }
        Operation::Follow { database, table, key, field } => {
            let database = instance.open_database_with_key(&database.parse()?, None).await?;
            let mut cursor = database.cursor().await?;
            loop {
                let rows = database.get_store_viewer::<Table<Doc>>(&table).await?;
                let value = rows.get(&key).await.ok().and_then(|row| row.get(&field).map(|value| value.to_json()));
                tell(json!({ "value": value }));
                cursor = database.arrival_after(cursor).await?;
            }
        }
        Operation::Stop | Operation::Borrow => {
            Err(Error::new(ErrorKind::Unsupported, "a command neither stops itself nor lends to itself"))
        }
    }
}

fn read_request(instance: &Instance, to: &str, request: &str) -> Result<access::Request, Error> {
    let to: PublicKey = to.parse()?;
    let bytes = STANDARD.decode(request).unwrap_or_default();
    access::Request::parse(&bytes, &instance.device_id(), &to).ok_or_else(|| {
        let message = "the request for access was damaged on its way to the process that serves the store; try again";
        Error::new(ErrorKind::InvalidInput, message)
    })
}

/// What an event says of a transfer of this database, or of any.
fn about(event: SyncEvent, only: Option<&Id>) -> Option<Json> {
    let SyncEvent::Progressed { peer, database, progress } = event else { return None };
    let (received, sent, left) = (progress.received, progress.sent, progress.left);
    let moved = Moved { peer: peer.to_string(), database: database.to_string(), received, sent, left };
    let told = only.is_none_or(|only| *only == database);
    told.then(|| serde_json::to_value(moved).ok()).flatten()
}

/// What has come and gone, by peer and database, since the node was started.
type Totals = BTreeMap<(String, String), (u64, u64)>;

async fn totals(instance: &Instance, sync: &Syncer) -> Result<Totals, Error> {
    let mut totals = Totals::new();
    for one in Peers::new(instance.engine().clone(), PeerLimits::default()).relationships().await? {
        if let Ok(status) = one.peer.key().and_then(|peer| sync.handle(&peer, &one.database).status()) {
            totals.insert((one.peer.to_string(), one.database.to_string()), (status.received, status.sent));
        }
    }
    Ok(totals)
}

/// Counts what rounds have moved that the node has begun by itself just before.
fn count_all(rounds: &mut [Json], before: &Totals, after: &Totals) {
    for round in rounds.iter_mut().filter(|round| round["received"].is_u64()) {
        let text = |name: &str| round[name].as_str().unwrap_or_default().to_owned();
        let lane = (text("peer"), text("database"));
        let (came, went) = before.get(&lane).copied().unwrap_or_default();
        let (all_came, all_went) = after.get(&lane).copied().unwrap_or_default();
        let most = |name: &str, all: u64| round[name].as_u64().unwrap_or(0).max(all);
        let (came, went) =
            (most("received", all_came.saturating_sub(came)), most("sent", all_went.saturating_sub(went)));
        (round["received"], round["sent"]) = (came.into(), went.into());
    }
}

async fn with_address(sync: &Syncer, address: &Address, database: Option<&Id>) -> Result<Vec<Json>, Error> {
    let report = sync.sync_with_peer(address, database).await?;
    Ok(report.databases.into_iter().map(|synced| synced_json(&report.peer, synced)).collect())
}

/// Syncs with all peers at once: one that cannot be reached keeps nobody waiting but itself. One that has no address is passed over: it
/// calls by itself.
async fn with_all(instance: &Instance, sync: &Syncer, database: Option<&Id>) -> Result<Vec<Json>, Error> {
    let peers = Peers::new(instance.engine().clone(), PeerLimits::default());
    let related = peers.relationships().await?;
    let wishes = instance.all_wishes().await?;
    let (mut rounds, mut passed_over) = (JoinSet::new(), Vec::new());
    for one in related {
        let wished = wishes.get(&one.database).is_some_and(|wishes| wishes.sync_enabled);
        if !wished || database.is_some_and(|id| *id != one.database) {
            continue;
        }
        if peers.get(&one.peer).await?.is_some_and(|peer| peer.addresses.is_empty()) && one.peer.key().is_ok() {
            let (peer, database) = (one.peer.to_string(), one.database.to_string());
            passed_over.push(json!({ "peer": peer, "database": database, "passed_over": true }));
            continue;
        }
        let sync = sync.clone();
        rounds.spawn(async move {
            let result = match one.peer.key() {
                Ok(peer) => sync.sync_tree_with_peer(&peer, &one.database).await,
                Err(error) => Err(error),
            };
            (one.peer.to_string(), one.database, result)
        });
    }
    let mut done = rounds.join_all().await;
    done.sort_by(|(a, c, _), (b, d, _)| (a, c).cmp(&(b, d)));
    let done = done.into_iter().map(|(peer, database, result)| result_json(&peer, &database, result));
    Ok(done.chain(passed_over).collect())
}

fn synced_json(peer: &PublicKey, synced: SyncedDatabase) -> Json {
    result_json(&peer.to_string(), &synced.database, synced.result)
}

fn result_json(peer: &str, database: &Id, result: Result<eidetica::sync::reconcile::Outcome, Error>) -> Json {
    let (peer, database) = (peer.to_owned(), database.to_string());
    match result {
        Ok(outcome) => json!({
            "peer": peer, "database": database, "received": outcome.received, "repeated": outcome.repeated,
            "sent": outcome.sent, "refused": outcome.refused, "refused_there": outcome.refused_there,
            "parked": outcome.parked, "round_trips": outcome.round_trips, "complete": outcome.complete,
        }),
        Err(error) => json!({ "peer": peer, "database": database, "failed": SpokenError::from(&error) }),
    }
}
