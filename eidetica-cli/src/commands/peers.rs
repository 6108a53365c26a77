//! `peers`: who is known, and where they are reached. All of it lies in the store, and whoever serves it notices changes.

use eidetica::sync::SyncPeerInfo;
use eidetica::sync::peers::{PeerLimits, PeerName, Peers};
use eidetica::{Error, ErrorKind};
use serde_json::json;

use crate::arguments::PeersCommand;
use crate::failure::Failure;
use crate::names;
use crate::node;
use crate::output::Output;
use crate::session::Session;

/// Runs a command about peers.
pub async fn run(session: &Session, command: Option<&PeersCommand>, output: &mut Output) -> Result<(), Failure> {
    let peers = Peers::new(session.instance.engine().clone(), PeerLimits::default());
    match command {
        None | Some(PeersCommand::List) => list(session, &peers, output).await,
        Some(PeersCommand::Add { peer, database, address, name }) => {
            let name_of_peer = PeerName::of(peer);
            if let Err(error) = name_of_peer.key() {
                return Err(Failure::Usage(error));
            }
            let info = SyncPeerInfo {
                peer_pubkey: peer.clone(),
                tree_id: names::find(session, database).await?,
                addresses: address.iter().map(|text| node::address(text)).collect(),
                auth: None,
                display_name: name.clone(),
            };
            let id = info.tree_id.to_string();
            peers.declare(&info).await?;
            let text = format!("{database} is kept in step with {name_of_peer} from now on, while it is served");
            output.say(&text, || json!({ "peer": peer, "database": id, "addresses": address }))
        }
        Some(PeersCommand::Remove { peer }) => {
            let name = find(&peers, peer).await?;
            peers.remove(&name).await?;
            output.say(&format!("{name} is forgotten"), || json!({ "removed": name.to_string() }))
        }
    }
}

async fn list(session: &Session, peers: &Peers, output: &mut Output) -> Result<(), Failure> {
    let named = names::all(session).await?;
    let mut lines = Vec::new();
    for peer in peers.list().await? {
        let related = peers.relationships_of(&peer.name).await?;
        let addresses: Vec<String> = peer.addresses.iter().map(|known| known.address.to_string()).collect();
        if output.json {
            let databases: Vec<String> = related.iter().map(|one| one.database.to_string()).collect();
            output.document(&json!({
                "peer": peer.name.to_string(), "name": peer.display_name, "declared": peer.declared,
                "addresses": addresses, "databases": databases,
                "seen_millis": peer.seen.map(|at| at.millis()),
            }))?;
            continue;
        }
        let name = |id: &eidetica::Id| {
            let named = named.iter().find(|named| named.id == *id);
            named.map_or_else(|| crate::snapshot::short(id), |named| named.name.clone())
        };
        let databases: Vec<String> = related.iter().map(|one| name(&one.database)).collect();
        let shown = peer.display_name.unwrap_or_default();
        lines.push(vec![peer.name.to_string(), shown, addresses.join(", "), databases.join(", ")]);
    }
    if output.json {
        return Ok(());
    }
    output.table(&["peer", "name", "addresses", "databases"].map(str::to_owned), &lines)
}

/// The peer with this key, or the only one whose key begins so.
async fn find(peers: &Peers, text: &str) -> Result<PeerName, Failure> {
    let all = peers.list().await?.into_iter().map(|peer| peer.name);
    let mut found: Vec<PeerName> = all.filter(|name| name.to_string().starts_with(text)).collect();
    if let Some(at) = found.iter().position(|name| name.to_string() == text) {
        return Ok(found.swap_remove(at));
    }
    match found.len() {
        1 if !text.is_empty() => Ok(found.remove(0)),
        0 => {
            let message = "no such peer is known; `eidetica peers` shows those that are";
            Err(Error::new(ErrorKind::NotFound, message).with("peer", text).into())
        }
        _ => {
            let message = "several peers begin so; write more of the key";
            Err(Error::new(ErrorKind::InvalidInput, message).with("peer", text).into())
        }
    }
}
