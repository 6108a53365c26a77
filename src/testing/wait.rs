//! Waiting for what comes over the network.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use eidetica_contract::{Error, ErrorKind, Result};
use eidetica_core::{Cursor, Database};
use tokio::time::timeout;

/// How long is waited at most. Longer than sync lets any try wait for the next one, so that what can come has come.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Waits until all of these hold the same entries, and so show the same.
///
/// Errors: `Timeout` after 15 minutes, with the number of entries of each as `entries`; those of the databases.
pub async fn in_step<'d>(databases: impl IntoIterator<Item = &'d Database>) -> Result<()> {
    let databases: Vec<&Database> = databases.into_iter().collect();
    let wait = async {
        loop {
            let (mut cursors, mut digests) = (Vec::new(), Vec::new());
            for database in &databases {
                // The place first: what comes between the two is then not waited for.
                cursors.push(database.cursor().await?);
                digests.push(database.heads_digest().await?);
            }
            if digests.windows(2).all(|two| two[0] == two[1]) {
                return Ok(());
            }
            arrival(&databases, &cursors).await?;
        }
    };
    match timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => {
            let mut entries = Vec::new();
            for database in &databases {
                entries.push(database.entry_count().await?.to_string());
            }
            let message = "the databases have not come to the same entries; what keeps their devices apart?";
            Err(Error::new(ErrorKind::Timeout, message).with("entries", entries.join(", ")))
        }
    }
}

/// Waits until something is so in a database. It is asked at once, and again after everything that comes in, from here or elsewhere.
///
/// ```
/// # use eidetica::{Database, Result, store::DocStore, testing};
/// # async fn example(database: &Database) -> Result<()> {
/// testing::until("the greeting is there", database, async || {
///     database.get_store_viewer::<DocStore>("notes").await?.contains_key("greeting").await
/// })
/// .await
/// # }
/// ```
///
/// Errors: `Timeout` after 15 minutes, with what was waited for as `waited_for`; that of the question, as it is.
pub async fn until(what: &str, database: &Database, so: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let wait = async {
        loop {
            let cursor = database.cursor().await?;
            if so().await? {
                return Ok(());
            }
            database.arrival_after(cursor).await?;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| {
        let message = "what is waited for has not come";
        Err(Error::new(ErrorKind::Timeout, message).with("waited_for", what))
    })
}

/// Waits until something has come into one of these, behind its cursor.
async fn arrival(databases: &[&Database], cursors: &[Cursor]) -> Result<()> {
    let mut all: Vec<_> = databases.iter().zip(cursors).map(|(one, at)| Box::pin(one.arrival_after(*at))).collect();
    poll_fn(|context| {
        let mut ready = all.iter_mut().filter_map(|one| match one.as_mut().poll(context) {
            Poll::Ready(arrived) => Some(arrived.map(drop)),
            Poll::Pending => None,
        });
        ready.next().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
