//! How many large messages are in memory at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crowd::network;

/// Places for large messages. One origin gets half of them at most, so that it alone cannot make all others wait.
pub(crate) struct Large {
    all: Arc<Semaphore>,
    share: usize,
    origins: Mutex<HashMap<Option<IpAddr>, Weak<Semaphore>>>,
}

/// The right to keep one large message.
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    // Keeps the semaphore of the origin as well.
    _own: OwnedSemaphorePermit,
}

impl Large {
    pub(crate) fn new(places: usize) -> Large {
        Large { all: Arc::new(Semaphore::new(places)), share: places / 2, origins: Mutex::default() }
    }

    /// Waits for a place, in turn.
    pub(crate) async fn place(&self, origin: Option<IpAddr>) -> Option<Place> {
        let _own = self.of(origin.map(network)).acquire_owned().await.ok()?;
        let _all = self.all.clone().acquire_owned().await.ok()?;
        Some(Place { _all, _own })
    }

    fn of(&self, origin: Option<IpAddr>) -> Arc<Semaphore> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = origins.get(&origin).and_then(Weak::upgrade) {
            return own;
        }
        // As many live as there are requests under way, at most.
        origins.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.share));
        origins.insert(origin, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_origin_gets_half() {
        let large = Large::new(4);
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().ok());
        let (first, _second) = (large.place(one).await, large.place(one).await);
        let (more, other) = tokio::select! {
            biased;
            _ = large.place(one) => (true, None),
            other = large.place(two) => (false, other),
        };
        assert!(!more && other.is_some());
        drop(first);
        assert!(large.place(one).await.is_some());
        drop((other, _second));
        large.place(two).await.unwrap();
        assert_eq!(large.origins.lock().unwrap().len(), 1);
    }
}
