//! `join`: from a ticket, or an address and the id of a database, to a copy of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eidetica::auth::Permission;
use eidetica::sync::SyncPeerInfo;
use eidetica::sync::peers::{PeerLimits, Peers};
use eidetica::sync::ticket::{DatabaseTicket, TicketPeer};
use eidetica::{Error, ErrorKind, Id, PublicKey, Retry, User};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::arguments::{Access, Join, Network};
use crate::failure::Failure;
use crate::moving::Moving;
use crate::names;
use crate::node::{Node, Operation};
use crate::output::{Output, remark};
use crate::session::Session;

/// How often it is asked whether an admin has decided.
const AGAIN: Duration = Duration::from_millis(500);
/// How many seconds an invitation is given to be honoured.
const HONOURED: u64 = 3;

impl From<Access> for Permission {
    fn from(access: Access) -> Permission {
        match access {
            Access::Read => Permission::Read,
            Access::Write => Permission::Write,
            Access::Admin => Permission::Admin,
        }
    }
}

/// What is joined, and by whom it is given.
struct Goal {
    /// Who answers there.
    peer: PublicKey,
    address: String,
    id: Id,
    permission: Permission,
    ticket: Option<DatabaseTicket>,
}

/// Asks for access, and fetches the database once it is there.
pub async fn run(session: &Session, join: &Join, network: &Network, output: &mut Output) -> Result<(), Failure> {
    if let Some(name) = &join.name {
        names::check(name).map_err(Failure::Usage)?;
    }
    let ticket = match is_ticket(&join.address) {
        true => Some(join.address.parse::<DatabaseTicket>().map_err(Failure::Usage)?),
        false => None,
    };
    let user = session.user_or_new().await?.clone();
    let mut node = Node::of(session, network).await?;
    let goal = goal(&mut node, join, ticket).await?;
    ask(session, &mut node, &user, &goal, join, output).await?;

    let mut moving = Moving::new(output.json);
    let Goal { peer, id, address, .. } = goal;
    let operation = Operation::Sync { address: Some(address), database: Some(id.to_string()) };
    let done = fetch(&mut node, &operation, &mut moving, join.wait.is_some()).await;
    moving.finish();
    let done = done?;
    let database = user.open_database(&id).await?;
    let name = names::call(session, &database, join.name.as_deref(), "joined").await?;
    let entries = database.entry_count().await?;
    let received = done[0]["received"].as_u64().unwrap_or(0);
    let text = format!("joined {name}, with {entries} entries");
    let right = database.current_permission().await?;
    output.say(&text, || {
        json!({
            "name": name, "id": id.to_string(), "peer": peer.to_string(), "entries": entries, "received": received,
            "permission": right.permission().map(|permission| format!("{permission:?}")),
        })
    })
}

fn is_ticket(text: &str) -> bool {
    text.trim().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("eidetica:"))
}

/// Reaches whoever has it.
async fn goal(node: &mut Node, join: &Join, ticket: Option<DatabaseTicket>) -> Result<Goal, Failure> {
    let refused = |message: &'static str| Failure::Usage(Error::new(ErrorKind::InvalidInput, message));
    let asked = join.permission.map(Permission::from);
    let (said, id) = match (&ticket, &join.database) {
        (Some(_), Some(_)) => return Err(refused("the ticket says which database it is for; leave DATABASE out")),
        (None, None) => return Err(refused("say which database to join, by its id or name, or give a ticket alone")),
        (Some(ticket), None) => {
            let operation = Operation::Reach { ticket: ticket.to_string() };
            (node.ask(operation, &mut |_| {}).await?, ticket.database)
        }
        (None, Some(database)) => {
            let contact = Operation::Contact { address: join.address.clone() };
            let said = node.ask(contact, &mut |_| {}).await?;
            (said, which(node, &join.address, database).await?)
        }
    };
    let peer: PublicKey = said["peer"].as_str().unwrap_or_default().parse()?;
    let address = said["address"].as_str().unwrap_or(&join.address).to_owned();
    let permission = asked.or(ticket.as_ref().and_then(|ticket| ticket.ask)).unwrap_or(Permission::Write);
    Ok(Goal { peer, address, id, permission, ticket })
}

/// The database that is meant: an id, or the name of one that the peer lets its user see.
async fn which(node: &mut Node, address: &str, database: &str) -> Result<Id, Failure> {
    if let Ok(id) = database.parse() {
        return Ok(id);
    }
    let found = node.ask(Operation::Discover { address: address.to_owned() }, &mut |_| {}).await?;
    let found: Vec<&Json> = found.as_array().map(|found| found.iter().collect()).unwrap_or_default();
    let called: Vec<&&Json> = found.iter().filter(|one| one["name"] == database).collect();
    match called[..] {
        [one] => Ok(one["id"].as_str().unwrap_or_default().parse::<Id>()?),
        [] => {
            let message = "the peer shows this user no database of that name; ask whoever has it for its id, which \
                           `eidetica list --json` shows";
            let names: Vec<&str> = found.iter().filter_map(|one| one["name"].as_str()).collect();
            let error = Error::new(ErrorKind::NotFound, message).with("database", database);
            Err(error.with("there_are", names.join(", ")).into())
        }
        _ => {
            let message = "several databases of the peer have this name; use the id of one";
            Err(Error::new(ErrorKind::InvalidInput, message).with("database", database).into())
        }
    }
}

/// Asks for access, and waits for a decision if that is wanted, or for a moment if there is an invitation. The peers of a ticket are
/// kept in step with from then on, also while somebody has to decide.
async fn ask(
    session: &Session,
    node: &mut Node,
    user: &User,
    goal: &Goal,
    join: &Join,
    output: &Output,
) -> Result<(), Failure> {
    let Goal { peer, address, id, permission, ticket } = goal;
    let key = user.get_default_key()?;
    let invitation = ticket.as_ref().and_then(|ticket| ticket.invitation.as_ref());
    let metadata: BTreeMap<_, _> = invitation.map(|invitation| invitation.pair(id, peer, &key)).into_iter().collect();
    let request = user.prepare_access_request(peer, id, &key, *permission, metadata).await?;
    let peers = Peers::new(session.instance.engine().clone(), PeerLimits::default());
    for TicketPeer { device, addresses } in ticket.iter().flat_map(|ticket| &ticket.peers) {
        let (peer_pubkey, addresses) = (device.to_string(), addresses.clone());
        let info = SyncPeerInfo { peer_pubkey, tree_id: *id, addresses, auth: None, display_name: None };
        peers.declare(&info).await?;
    }
    let operation = Operation::Request {
        address: address.clone(),
        to: peer.to_string(),
        request: STANDARD.encode(request.to_bytes()),
    };
    let wait = join.wait.or(invitation.map(|_| HONOURED));
    let until = wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut said = false;
    loop {
        match node.ask(operation.clone(), &mut |_| {}).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Pending => {
                if until.is_none_or(|until| Instant::now() >= until) {
                    return Err(error.into());
                }
                if join.wait.is_some() && !std::mem::replace(&mut said, true) && !output.json {
                    let request = error.context("request_id").unwrap_or_default();
                    remark(&format!("waiting until an admin approves the request {request}"));
                }
            }
            // Too many ask, or the way is broken for a moment.
            Err(error) if said && error.retry_hint() == Retry::Later => {
                if until.is_none_or(|until| Instant::now() >= until) {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Fetches it. A peer may give access a moment before it serves by it.
async fn fetch(node: &mut Node, operation: &Operation, moving: &mut Moving, patient: bool) -> Result<Json, Error> {
    let until = Instant::now() + Duration::from_secs(if patient { 10 } else { 2 });
    loop {
        match node.ask(operation.clone(), &mut |moved| moving.tell(moved)).await {
            Err(error) if error.retry_hint() == Retry::Later && Instant::now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}
