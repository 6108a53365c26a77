//! How many large messages are in memory at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use eidetica_contract::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::crowd::{Owner, network};

/// Places for large messages. One origin, or one peer that is known, gets half of them at most, so that it alone cannot make all
/// others wait.
pub(crate) struct Large {
    all: Arc<Semaphore>,
    share: usize,
    owners: Mutex<HashMap<Owner, Weak<Semaphore>>>,
}

/// The right to keep one large message.
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    // Keeps the semaphore of the owner as well.
    _own: OwnedSemaphorePermit,
}

impl Large {
    pub(crate) fn new(places: usize) -> Large {
        Large { all: Arc::new(Semaphore::new(places)), share: places / 2, owners: Mutex::default() }
    }

    /// Waits for a place, in turn.
    pub(crate) async fn place(&self, peer: Option<PublicKey>, origin: Option<IpAddr>) -> Option<Place> {
        let owner = peer.map_or(Owner::Network(origin.map(network)), Owner::Peer);
        let _own = self.of(owner).acquire_owned().await.ok()?;
        let _all = self.all.clone().acquire_owned().await.ok()?;
        Some(Place { _all, _own })
    }

    fn of(&self, owner: Owner) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(&owner).and_then(Weak::upgrade) {
            return own;
        }
        // As many live as there are requests under way, at most.
        owners.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.share));
        owners.insert(owner, Arc::downgrade(&own));
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
        let (first, _second) = (large.place(None, one).await, large.place(None, one).await);
        let (more, other) = tokio::select! {
            biased;
            _ = large.place(None, one) => (true, None),
            other = large.place(None, two) => (false, other),
        };
        assert!(!more && other.is_some());
        // Who is known has places beside those of his origin.
        let peer = Some(PublicKey::from_bytes([1; 32]));
        drop(large.place(peer, one).await.unwrap());
        drop(first);
        assert!(large.place(None, one).await.is_some());
        drop((other, _second));
        large.place(None, two).await.unwrap();
        assert_eq!(large.owners.lock().unwrap().len(), 1);
    }
}
