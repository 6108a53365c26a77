//! Words to peers that nobody here wants a database synced any longer: until they know, they would send what is new.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eidetica_core::Id;
use tokio::time::timeout;

use super::shared::Shared;
use crate::bell::Bell;

/// How long peers may take to hear it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is still to be said, and how much of it has been.
#[derive(Default)]
pub(crate) struct Farewells {
    due: Mutex<Vec<Id>>,
    /// Rings when something is due.
    asked: Bell,
    /// Has rung as often as `asked` once all of that was said.
    said: Bell,
}

impl Farewells {
    /// Has it said of these, in the background.
    pub fn add(&self, ended: Vec<Id>) {
        if !ended.is_empty() {
            self.due.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
            self.asked.ring();
        }
    }

    /// Waits until all that is due by now was said, whoever has asked for it, as far as peers can be reached in time.
    pub async fn said(&self) {
        if let Some(before) = self.asked.rings().checked_sub(1) {
            // One may just be going on, so that this is the next. And nobody says anything any more once the node has ended.
            let _ = timeout(2 * PATIENCE, self.said.after(before)).await;
        }
    }

    fn take(&self) -> Vec<Id> {
        std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Says what is due, for as long as it is polled.
pub(crate) async fn say(shared: Arc<Shared>) {
    let farewells = &shared.farewells;
    loop {
        let asked = farewells.asked.rings();
        shared.links.end(&farewells.take(), PATIENCE).await;
        while farewells.said.rings() < asked {
            farewells.said.ring();
        }
        farewells.asked.after(asked).await;
    }
}
