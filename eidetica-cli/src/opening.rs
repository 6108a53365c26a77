//! Opening a store: by this process alone or with others, or borrowed from the process that serves it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eidetica::backend::Registry;
use eidetica::{Error, ErrorKind, Instance};
use eidetica_backend_lent::Lender;
use tokio::time::{Instant, sleep};

/// How long a command waits for another one that has the store for itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the process that serves a store may take to answer. It lets some commands in at once, and the others wait for them.
#[cfg(unix)]
const ANSWER: Duration = Duration::from_secs(30);

/// An open store, and what lends it to other processes if its engine lets one in at a time.
pub struct Opened {
    pub instance: Instance,
    pub lender: Option<Lender>,
}

/// Opens a store to work on it: here, or through whoever serves it.
///
/// Errors: `Locked` if another process has it for itself, serves nobody and does not end soon.
pub async fn to_use(url: &str, file: Option<&Path>) -> Result<Instance, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let error = match Instance::open_url(url).await {
            Err(error) if error.kind() == ErrorKind::Locked => error,
            result => return result,
        };
        if let Some(instance) = borrowed(file).await? {
            return Ok(instance);
        }
        if Instant::now() > deadline {
            return Err(error);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Opens a store to serve it, and so that other commands get to it all the same.
pub async fn to_serve(url: &str, file: Option<&Path>) -> Result<Opened, Error> {
    let deadline = Instant::now() + PATIENCE;
    let backend = loop {
        match Registry::linked()?.open_backend(url).await {
            // A command may be at work on it.
            Err(error) if error.kind() == ErrorKind::Locked && !is_served(file).await && Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            result => break result?,
        }
    };
    if file.is_none() || backend.info().capabilities.shared {
        return Ok(Opened { instance: Instance::open(backend).await?, lender: None });
    }
    let lender = Lender::new(Arc::from(backend));
    Ok(Opened { instance: Instance::open(lender.own()).await?, lender: Some(lender) })
}

#[cfg(unix)]
async fn borrowed(file: Option<&Path>) -> Result<Option<Instance>, Error> {
    use crate::node::{Line, NOT_LENT};

    let Some(file) = file else { return Ok(None) };
    let Some(line) = Line::open(file).await? else { return Ok(None) };
    let borrowed = tokio::time::timeout(ANSWER, line.borrow()).await.unwrap_or_else(|_| {
        let message = "the process that serves this store does not answer; if it is of another version of this program, or is \
                       stopped, start it again";
        Err(Error::new(ErrorKind::Locked, message).with("store", file.display()))
    });
    match borrowed {
        Ok(backend) => Instance::open(Box::new(backend)).await.map(Some),
        // Whoever serves the store has just ended, or has no need to lend it.
        Err(error) if error.kind() == ErrorKind::Closed || error.context("reason") == Some(NOT_LENT) => Ok(None),
        // Above all one of another version, which trying again does not change.
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
async fn is_served(file: Option<&Path>) -> bool {
    match file {
        Some(file) => matches!(crate::node::Line::open(file).await, Ok(Some(_)) | Err(_)),
        None => false,
    }
}

/// Nobody can be asked here.
#[cfg(not(unix))]
async fn borrowed(_: Option<&Path>) -> Result<Option<Instance>, Error> {
    Ok(None)
}

#[cfg(not(unix))]
async fn is_served(_: Option<&Path>) -> bool {
    false
}
