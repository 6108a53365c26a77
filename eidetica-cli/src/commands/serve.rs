//! `serve`: lets peers in, and keeps databases in step with them.

use std::collections::BTreeMap;

use eidetica::sync::{SyncEvent, SyncOptions, Syncer};
use eidetica::{Error, ErrorKind, User};
use serde_json::{Value as Json, json};
use tokio::sync::broadcast::error::RecvError;

use crate::arguments::{Network, Serve};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::node::{self, Door, Post};
use crate::output::{Output, remark};
use crate::session::Session;

/// Serves the store until it is told to stop.
pub async fn run(
    session: &Session,
    arguments: &Serve,
    network: &Network,
    output: &mut Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let post = session.file().map(Post::take).transpose()?;
    // What this device needs to sync for the user who has no password may have to be signed yet.
    match session.user().await {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unauthenticated) => {
            return Err(error.into());
        }
        _ => {}
    }
    let mut here = Here::default();
    here.log_in_all(session).await?;
    let transports = node::serving_transports(network, arguments);
    // Where the proxy says who comes from where, they are told apart.
    let options = match (arguments.behind_proxy, &arguments.origin_header) {
        (true, None) => SyncOptions::default().behind_proxy(),
        _ => SyncOptions::default(),
    };
    // Nothing is opened yet: what is wrong lies in the command line.
    let sync = node::enable(&session.instance, transports, options).await.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => Failure::Usage(error),
        _ => Failure::Error(error),
    })?;
    if arguments.listens() {
        sync.accept_connections().await?;
    }
    let mut door = open_door(session, &sync, post)?;
    say_where(session, &sync, output).await?;
    let work = async {
        tokio::select! {
            told = tell(session, &sync, &mut here, output) => told,
            () = let_in(&mut door) => Ok(()),
            () = interrupt.raised() => Ok(()),
            () = stdin_ends(), if arguments.until_stdin_ends => Ok(()),
        }
    };
    let ended = work.await;
    if !output.json {
        remark("stopping");
    }
    // No command comes in from now on, and peers are answered to the end of what they have begun.
    drop(door);
    sync.stop_server().await?;
    ended
}

#[cfg(unix)]
fn open_door(session: &Session, sync: &Syncer, post: Option<Post>) -> Result<Option<Door>, Error> {
    match (post, session.file()) {
        (Some(post), Some(file)) => {
            let (instance, sync, lender) = (session.instance.clone(), sync.clone(), session.lender().cloned());
            Door::open(post, file, node::Served { instance, sync, lender }).map(Some)
        }
        _ => Ok(None),
    }
}

#[cfg(not(unix))]
fn open_door(_: &Session, _: &Syncer, _: Option<Post>) -> Result<Option<Door>, Error> {
    Ok(None)
}

async fn let_in(door: &mut Option<Door>) {
    match door {
        #[cfg(unix)]
        Some(door) => door.let_in().await,
        _ => std::future::pending().await,
    }
}

async fn say_where(session: &Session, sync: &Syncer, output: &mut Output) -> Result<(), Failure> {
    let all = sync.get_all_server_addresses_async().await?;
    let listening: Vec<Json> = all.iter().map(node::listening).collect();
    let addresses: Vec<String> = all.into_iter().map(|(_, address)| address.to_string()).collect();
    let device = session.instance.device_id().to_string();
    let place = match addresses.is_empty() {
        true => ", and letting nobody in: this side calls".to_owned(),
        false => format!(" at {}", addresses.join(", ")),
    };
    let text = format!("serving {}{place}\nthis device is {device}", session.url);
    let process = std::process::id();
    output.say(&text, || {
        json!({
            "event": "serving", "store": session.url, "addresses": addresses, "listening": listening, "device": device,
            "process": process,
        })
    })?;
    output.flush()
}

/// The users without a password, who are logged in: what they have invited to is honoured here.
#[derive(Default)]
struct Here(BTreeMap<String, User>);

impl Here {
    /// Logs in all who are not yet: other commands make users meanwhile.
    async fn log_in_all(&mut self, session: &Session) -> Result<(), Error> {
        for name in session.instance.list_users().await? {
            if self.0.contains_key(&name) {
                continue;
            }
            match session.instance.login_user(&name, None).await {
                Ok(user) => drop(self.0.insert(name, user)),
                // It takes a password, or has just gone.
                Err(error) if matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Tells what happens, as long as anybody reads it.
async fn tell(session: &Session, sync: &Syncer, here: &mut Here, output: &mut Output) -> Result<(), Failure> {
    let mut events = sync.events();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            // Sync has been closed, and so this command is about to end.
            Err(RecvError::Closed) => return Ok(()),
        };
        match event {
            SyncEvent::AccessRequested => {
                // Whoever is not logged in now is so with the next request.
                if let Err(error) = here.log_in_all(session).await {
                    tracing::warn!(%error, "users who came to be meanwhile could not be logged in");
                }
                let text = "somebody asks for access; see `eidetica requests`";
                output.say(text, || json!({ "event": "access-requested" }))?;
            }
            SyncEvent::Synced { peer, database, outcome } if outcome.received + outcome.sent > 0 || output.json => {
                let (received, sent) = (outcome.received, outcome.sent);
                let text = format!("{}: {received} entries came, {sent} went", crate::snapshot::short(&database));
                output.say(&text, || {
                    json!({
                        "event": "synced", "peer": peer.to_string(), "database": database.to_string(),
                        "received": received, "repeated": outcome.repeated, "sent": sent,
                        "sent_again": outcome.sent_again, "complete": outcome.complete,
                    })
                })?;
            }
            SyncEvent::Failed { peer, database, kind, text, context } if output.json => {
                output.document(&json!({
                    "event": "failed", "peer": peer.to_string(), "database": database.to_string(),
                    "kind": format!("{kind:?}"), "text": text, "context": node::pairs(&context),
                }))?;
            }
            _ => continue,
        }
        output.flush()?;
    }
}

/// Waits until whoever has started this process closes its input, or is gone.
async fn stdin_ends() {
    let (ended, wait) = tokio::sync::oneshot::channel::<()>();
    // The thread may read on when this process ends by something else; it keeps nothing from ending.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(ended);
    });
    let _ = wait.await;
}
