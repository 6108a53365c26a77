//! `join`: from an address and the id of a database to a copy of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eidetica::auth::Permission;
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

impl From<Access> for Permission {
    fn from(access: Access) -> Permission {
        match access {
            Access::Read => Permission::Read,
            Access::Write => Permission::Write,
            Access::Admin => Permission::Admin,
        }
    }
}

/// Asks for access, and fetches the database once it is there.
pub async fn run(session: &Session, join: &Join, network: &Network, output: &mut Output) -> Result<(), Failure> {
    if let Some(name) = &join.name {
        names::check(name).map_err(Failure::Usage)?;
    }
    let user = session.user_or_new().await?.clone();
    let mut node = Node::of(session, network).await?;
    let address = join.address.as_str();
    let peer = node.ask(Operation::Contact { address: address.to_owned() }, &mut |_| {}).await?;
    let peer: PublicKey = peer["peer"].as_str().unwrap_or_default().parse()?;
    let id = which(&mut node, join).await?;
    ask(&mut node, &user, &peer, &id, join, output).await?;

    let mut moving = Moving::new(output.json);
    let operation = Operation::Sync { address: Some(address.to_owned()), database: Some(id.to_string()) };
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

/// The database that is meant: an id, or the name of one that the peer lets its user see.
async fn which(node: &mut Node, join: &Join) -> Result<Id, Failure> {
    if let Ok(id) = join.database.parse() {
        return Ok(id);
    }
    let found = node.ask(Operation::Discover { address: join.address.clone() }, &mut |_| {}).await?;
    let found: Vec<&Json> = found.as_array().map(|found| found.iter().collect()).unwrap_or_default();
    let called: Vec<&&Json> = found.iter().filter(|one| one["name"] == join.database.as_str()).collect();
    match called[..] {
        [one] => Ok(one["id"].as_str().unwrap_or_default().parse::<Id>()?),
        [] => {
            let message = "the peer shows this user no database of that name; ask whoever has it for its id, which \
                           `eidetica list --json` shows";
            let names: Vec<&str> = found.iter().filter_map(|one| one["name"].as_str()).collect();
            let error = Error::new(ErrorKind::NotFound, message).with("database", &join.database);
            Err(error.with("there_are", names.join(", ")).into())
        }
        _ => {
            let message = "several databases of the peer have this name; use the id of one";
            Err(Error::new(ErrorKind::InvalidInput, message).with("database", &join.database).into())
        }
    }
}

/// Asks for access, and waits for a decision if that is wanted.
async fn ask(
    node: &mut Node,
    user: &User,
    peer: &PublicKey,
    id: &Id,
    join: &Join,
    output: &Output,
) -> Result<(), Failure> {
    let key = user.get_default_key()?;
    let request = user.prepare_access_request(peer, id, &key, join.permission.into(), BTreeMap::new()).await?;
    let operation = Operation::Request {
        address: join.address.clone(),
        to: peer.to_string(),
        request: STANDARD.encode(request.to_bytes()),
    };
    let until = join.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut said = false;
    loop {
        match node.ask(operation.clone(), &mut |_| {}).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Pending => {
                if until.is_none_or(|until| Instant::now() >= until) {
                    return Err(error.into());
                }
                if !std::mem::replace(&mut said, true) && !output.json {
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
