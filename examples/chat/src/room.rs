//! A room that is open: what is said in it, who is here, and how far it is in sync.

use std::time::Duration;

use eidetica::sync::{Presence, PresenceEvent, SyncState, Syncer};
use eidetica::{Database, ErrorKind, Id, PublicKey, Result};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::desk::Update;
use crate::history;
use crate::text;

/// How long others see somebody who has vanished without a word.
const LIFETIME: Duration = Duration::from_secs(12);
/// How often it is looked how far it is in sync.
const LOOK: Duration = Duration::from_millis(500);

/// Something to be done in a room.
pub enum Order {
    Say(String),
    /// Whether something is being typed.
    Typing(bool),
}

/// Somebody who is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub device: PublicKey,
    pub key: PublicKey,
    pub name: String,
    pub typing: bool,
}

/// Follows a room until there can be no more orders.
pub async fn run(
    room: Database,
    sync: Syncer,
    name: String,
    updates: mpsc::Sender<Update>,
    mut orders: mpsc::Receiver<Order>,
) {
    let id = *room.root_id();
    let done = follow(&room, &sync, &name, &updates, &mut orders).await;
    if let Err(error) = done
        && error.kind() != ErrorKind::Closed
    {
        let _ = updates.send(Update::Notice(format!("a room cannot be followed any longer: {error}"))).await;
        let _ = updates.send(Update::Sync(id, error.to_string())).await;
    }
}

async fn follow(
    room: &Database,
    sync: &Syncer,
    name: &str,
    updates: &mpsc::Sender<Update>,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<()> {
    let id = *room.root_id();
    // Before the history is read, so that nothing is missed between the two.
    let mut watch = room.watch().await?;
    let _ = updates.send(Update::History(id, history::latest(room).await?)).await;
    // Two hops: those who have joined by the same ticket see each other through who has made it.
    let mut presence = sync.presence(room)?.reach(2).lifetime(LIFETIME);
    presence.publish(payload(name, false))?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Say(text)) => {
                    if let Err(error) = history::say(room, name, &text).await {
                        let _ = updates.send(Update::Unsent(id, text, error.to_string())).await;
                    }
                }
                Some(Order::Typing(typing)) => presence.publish(payload(name, typing))?,
                None => {
                    presence.leave().await;
                    return Ok(());
                }
            },
            change = watch.next() => {
                let change = change?;
                let update = match change.struck.is_empty() && change.lifted.is_empty() {
                    true => Update::Said(id, history::of_entry(room, &change.log).await?),
                    // What somebody said counts no longer, or again.
                    false => Update::History(id, history::latest(room).await?),
                };
                let _ = updates.send(update).await;
            }
            event = presence.next() => {
                event.map(|_: PresenceEvent| ())?;
                let _ = updates.send(Update::People(id, people(&presence)?)).await;
            }
            _ = look.tick() => {
                let now = in_sync(sync, &id, &presence).await?;
                if now != told {
                    told.clone_from(&now);
                    let _ = updates.send(Update::Sync(id, now)).await;
                }
            }
        }
    }
}

/// What is said of oneself: whether one types, and one's name.
fn payload(name: &str, typing: bool) -> Vec<u8> {
    let mut out = vec![u8::from(typing)];
    out.extend_from_slice(name.as_bytes());
    out
}

fn people(presence: &Presence) -> Result<Vec<Person>> {
    let here = presence.here()?.into_iter().map(|present| {
        let (typing, name) = present.payload.split_first().unwrap_or((&0, &[]));
        let name = text::name(&String::from_utf8_lossy(name));
        Person { device: present.device, key: present.key, name, typing: *typing == 1 }
    });
    Ok(here.collect())
}

/// How far a room is in sync, in few words.
async fn in_sync(sync: &Syncer, room: &Id, presence: &Presence) -> Result<String> {
    let near: Vec<PublicKey> = presence.here()?.iter().filter(|one| one.hops == 1).map(|one| one.device).collect();
    let (mut reached, mut away, mut fetch, mut send) = (0, 0, 0, 0);
    for peer in sync.list_peers().await? {
        let Ok(peer) = peer.name.key() else { continue };
        let status = sync.get_sync_status(&peer, room)?;
        match status.state {
            SyncState::Ended | SyncState::NotWished => continue,
            // It cannot be called, or not where it was; but it calls.
            _ if near.contains(&peer) => reached += 1,
            SyncState::NoAddress => continue,
            SyncState::BackingOff => away += 1,
            _ if status.last_error.is_some() || !status.connected => away += 1,
            _ => reached += 1,
        }
        fetch += status.behind_here.unwrap_or(0);
        send += u64::from(status.unsent).max(status.behind_there.unwrap_or(0));
    }
    Ok(match (reached, away) {
        (0, 0) => "nobody to call".to_owned(),
        (0, 1) => "peer not reached".to_owned(),
        (0, away) => format!("{away} peers not reached"),
        _ if fetch > 0 => format!("fetching {fetch}"),
        _ if send > 0 => "sending".to_owned(),
        (reached, 0) => format!("in step with {reached}"),
        (reached, away) => format!("in step with {reached} of {}", reached + away),
    })
}
