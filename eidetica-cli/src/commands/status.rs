//! `status`: how each database stands with each peer.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::failure::Failure;
use crate::moving::Moving;
use crate::names::{self, Named};
use crate::node::{self, Node, Operation};
use crate::output::Output;
use crate::session::Session;

/// How often it is looked at while it is followed.
const AGAIN: Duration = Duration::from_millis(200);

/// Tells how everything stands, once, or until nothing is under way.
pub async fn run(session: &Session, follow: bool, output: &mut Output) -> Result<(), Failure> {
    let mut moving = Moving::new(output.json);
    let mut last = Json::Null;
    loop {
        let status = look(session).await?;
        if !follow {
            return show(session, &status, output).await;
        }
        let related = status["relationships"].as_array().cloned().unwrap_or_default();
        let busy = |one: &Json| matches!(one["state"].as_str(), Some("running" | "waiting"));
        for one in &related {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            let done = one["received"].as_u64().unwrap_or(0) + one["sent"].as_u64().unwrap_or(0);
            moving.at((text("peer"), text("database")), done, one["behind"].as_u64().unwrap_or(0));
        }
        if !related.iter().any(busy) {
            moving.finish();
            return show(session, &status, output).await;
        }
        if output.json && last != status {
            show(session, &status, output).await?;
            output.flush()?;
        }
        last = status;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn look(session: &Session) -> Result<Json, Failure> {
    Ok(match Node::serving(session).await? {
        Some(mut node) => node.ask(Operation::Status, &mut |_| {}).await?,
        None => node::stored_status(&session.instance).await?,
    })
}

async fn show(session: &Session, status: &Json, output: &mut Output) -> Result<(), Failure> {
    let named = names::all(session).await?;
    if output.json {
        let mut status = status.clone();
        for list in ["relationships", "asked"] {
            for one in status[list].as_array_mut().into_iter().flatten() {
                let name = known(&named, &one["database"]).map(|named| named.name.clone());
                one["name"] = json!(name);
            }
        }
        return output.document(&status);
    }
    let addresses = status["serving"]["addresses"].as_array().cloned().unwrap_or_default();
    let addresses: Vec<&str> = addresses.iter().filter_map(Json::as_str).collect();
    match status["serving"]["process"].as_u64() {
        Some(process) if addresses.is_empty() => {
            output.line(&format!("served by process {process}, which calls peers and lets nobody in"))?;
        }
        Some(process) => output.line(&format!("served at {} by process {process}", addresses.join(", ")))?,
        None => {
            output.line("not served; `eidetica serve --iroh` (or `--http ADDR`) keeps databases in step with peers")?
        }
    }
    let mut lines = Vec::new();
    for one in status["relationships"].as_array().into_iter().flatten() {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| one[name].as_u64().map_or_else(String::new, |number| number.to_string());
        let database = known(&named, &one["database"]).map_or_else(|| text("database"), |named| named.name.clone());
        let state = match (one["state"].as_str(), one["connected"].as_bool()) {
            (Some("idle"), Some(true)) if one["unsent"] == false => "in step".to_owned(),
            (Some(state), _) => state.to_owned(),
            (None, _) => String::new(),
        };
        let mut more = String::new();
        if let Some(error) = one["last_error"]["text"].as_str() {
            more = error.to_owned();
            if let Some(next) = one["next_attempt_seconds"].as_f64() {
                more.push_str(&format!(" (again in {next:.0} s)"));
            }
        } else if let Some(ago) = one["last_success_seconds"].as_f64() {
            more = format!("compared {ago:.0} s ago");
        }
        let counts = ["received", "sent", "behind", "peer_behind"].map(number);
        lines.push([database, text("peer"), state].into_iter().chain(counts).chain([more]).collect::<Vec<_>>());
    }
    for one in status["asked"].as_array().into_iter().flatten() {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let state = match one["state"].as_str() {
            Some("pending") => "asked for",
            Some("rejected") => "refused",
            _ => "asked for, and not answered",
        };
        let database = known(&named, &one["database"]).map_or_else(|| text("database"), |named| named.name.clone());
        lines.push(vec![database, text("to"), state.to_owned()]);
        lines.last_mut().into_iter().for_each(|line| line.resize(8, String::new()));
    }
    if lines.is_empty() {
        return output.line("no database is synced with anybody; `eidetica join ADDRESS DATABASE` begins that");
    }
    output.table(
        &["database", "peer", "state", "received", "sent", "behind", "peer behind", "more"].map(str::to_owned),
        &lines,
    )
}

fn known<'n>(named: &'n [Named], id: &Json) -> Option<&'n Named> {
    named.iter().find(|named| id.as_str().is_some_and(|id| named.id.to_string() == id))
}
