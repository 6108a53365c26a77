//! The node of a store, which talks with peers: in this process, or in the one that serves the store.
//!
//! Most commands need no node: several processes may have a store open at once, and whoever serves it notices what others
//! have changed. Where the engine lets one process in at a time, the one that serves the store lends it to the others. Commands that need one ask the process that serves the store, over a local socket ([`post`]), or are one
//! for as long as they run. Both do the same work ([`work`]).

mod door;
mod post;
mod spoken;
mod status;
mod transports;
mod work;

use eidetica::sync::{SyncOptions, Syncer};
use eidetica::{Error, Instance};
use serde_json::Value as Json;

use crate::arguments::Network;
use crate::session::Session;
pub use door::Door;
#[cfg(unix)]
pub use door::Served;
#[cfg(unix)]
pub use post::Line;
pub use post::Post;
#[cfg(unix)]
pub use spoken::NOT_LENT;
pub use spoken::{Moved, Operation};
pub use status::{listening, pairs};
pub use transports::{address, serving as serving_transports};

/// Whoever talks with peers for this store.
pub enum Node {
    /// This process, for as long as it runs.
    Own(Instance, Syncer),
    /// The one that serves the store.
    #[cfg(unix)]
    Serving(post::Line),
}

impl Node {
    /// The node of a store: the process that serves it, else this one, which then calls peers and does not listen.
    pub async fn of(session: &Session, network: &Network) -> Result<Node, Error> {
        match Node::serving(session).await? {
            Some(node) => Ok(node),
            None => {
                let sync = enable(&session.instance, transports::dialling(network), SyncOptions::default()).await?;
                Ok(Node::Own(session.instance.clone(), sync))
            }
        }
    }

    /// The process that serves a store; `None` if there is none.
    #[cfg(unix)]
    pub async fn serving(session: &Session) -> Result<Option<Node>, Error> {
        match session.file() {
            Some(file) => Ok(post::Line::open(file).await?.map(Node::Serving)),
            None => Ok(None),
        }
    }

    /// Nobody can be asked here.
    #[cfg(not(unix))]
    pub async fn serving(_: &Session) -> Result<Option<Node>, Error> {
        Ok(None)
    }

    /// Has something done, and gives what has come of it. What moves meanwhile is told.
    pub async fn ask(&mut self, operation: Operation, tell: &mut (dyn FnMut(Json) + Send)) -> Result<Json, Error> {
        match self {
            Node::Own(instance, sync) => work::run(instance, Some(sync), true, operation, tell).await,
            #[cfg(unix)]
            Node::Serving(line) => line.ask(&operation, tell).await,
        }
    }
}

/// Starts sync over these transports.
pub async fn enable(
    instance: &Instance,
    transports: transports::Transports,
    options: SyncOptions,
) -> Result<Syncer, Error> {
    instance.enable_sync_with(options).await?;
    let sync = instance.sync().ok_or_else(|| Error::new(eidetica::ErrorKind::Internal, "sync has not started"))?;
    for (label, transport) in transports {
        sync.register_transport(label, transport).await?;
    }
    Ok(sync)
}

/// How a store stands with its peers, as far as its rows tell it: for when nobody serves it.
pub async fn stored_status(instance: &Instance) -> Result<Json, Error> {
    work::run(instance, None, true, Operation::Status, &mut |_| {}).await
}
