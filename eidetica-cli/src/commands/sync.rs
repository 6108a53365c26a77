//! `sync`: now, by hand.

use eidetica::{Error, ErrorKind};
use serde_json::Value as Json;

use crate::arguments::Network;
use crate::failure::{self, Failure};
use crate::moving::Moving;
use crate::names;
use crate::node::{Node, Operation};
use crate::output::Output;
use crate::session::Session;

/// What is said of a peer that cannot be called, which is no fault of anybody.
const PASSED_OVER: &str = "passed over: it has no address, and calls by itself";

/// Syncs with an address, or with all peers.
pub async fn run(
    session: &Session,
    address: Option<&str>,
    database: Option<&str>,
    network: &Network,
    output: &mut Output,
) -> Result<(), Failure> {
    let id = match database {
        // One that was asked for and has not come yet has no name here.
        Some(name) => Some(match name.parse() {
            Ok(id) => id,
            Err(_) => names::find(session, name).await?,
        }),
        None => None,
    };
    let mut node = Node::of(session, network).await?;
    let operation = Operation::Sync { address: address.map(str::to_owned), database: id.map(|id| id.to_string()) };
    let mut moving = Moving::new(output.json);
    let done = node.ask(operation, &mut |moved| moving.tell(moved)).await;
    moving.finish();
    let done = done?;
    let named = names::all(session).await?;
    let rounds: Vec<&Json> = done.as_array().map(|rounds| rounds.iter().collect()).unwrap_or_default();
    if rounds.is_empty() {
        let message = match address {
            Some(_) => "this store and the peer share no database yet; `eidetica join ADDRESS DATABASE` asks for one",
            None => "no peer is known that a database is synced with; `eidetica join ADDRESS DATABASE` asks for one",
        };
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for round in rounds {
        let text = |name: &str| round[name].as_str().unwrap_or_default().to_owned();
        let id = text("database");
        let name = named.iter().find(|named| named.id.to_string() == id).map_or(id, |named| named.name.clone());
        let number = |name: &str| round[name].as_u64().unwrap_or(0).to_string();
        let result = match round["failed"]["message"].as_str() {
            Some(message) => {
                let message = message.to_owned();
                failed.push(round["failed"].clone());
                message
            }
            None if round["passed_over"] == true => PASSED_OVER.to_owned(),
            None if round["complete"] == true => "in step".to_owned(),
            None => "more has come meanwhile; sync again".to_owned(),
        };
        if output.json {
            let mut round = round.clone();
            round["name"] = name.into();
            if !round["failed"].is_null() {
                round["failed"] = failure::document(&as_error(round["failed"].take()));
            }
            output.document(&round)?;
        } else {
            lines.push(vec![name, text("peer"), number("received"), number("sent"), result]);
        }
    }
    if !output.json {
        output.table(&["database", "peer", "received", "sent", "result"].map(str::to_owned), &lines)?;
    }
    match failed.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            output.flush()?;
            Err(as_error(first).into())
        }
    }
}

/// An error as another process has said it.
fn as_error(spoken: Json) -> Error {
    let error = serde_json::from_value::<eidetica_backend_lent::SpokenError>(spoken).map(Error::from);
    error.unwrap_or_else(|_| Error::new(ErrorKind::Internal, "sync has failed"))
}
