//! The pulse of a database: tells when its heads are others.

use std::sync::Arc;
use std::time::Duration;

use eidetica_contract::{ErrorKind, Result};
use eidetica_core::{Cursor, Database, Id};
use tokio::sync::mpsc;

use super::served::Served;

/// After an error of the store, it is asked again after this time.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the heads of a database, and each time that they are others, until it is closed.
pub(crate) async fn beat(database: Database, served: Arc<Served>, beats: mpsc::Sender<(Id, [u8; 32])>) {
    let id = *database.root_id();
    let mut cursor = None;
    loop {
        match once(&database, cursor).await {
            Ok((next, digest)) => {
                cursor = Some(next);
                served.pulse(&id, digest);
                if beats.send((id, digest)).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                tracing::warn!(database = %id, %error, "a database cannot be followed for now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The heads: at first those that there are, then the next ones.
async fn once(database: &Database, cursor: Option<Cursor>) -> Result<(Cursor, [u8; 32])> {
    let cursor = match cursor {
        Some(cursor) => database.arrival_after(cursor).await?,
        None => database.cursor().await?,
    };
    // Read after the cursor: what comes in between is told now, and once more, and is not lost.
    Ok((cursor, database.heads_digest().await?))
}
