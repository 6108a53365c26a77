//! A number of places, of which one origin, or one device that is known, gets half at most, so that it alone cannot make all others wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Shares {
    all: Arc<Semaphore>,
    share: usize,
    owners: Mutex<HashMap<Arc<str>, Weak<Semaphore>>>,
}

/// The right to one place.
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    // Keeps the semaphore of the owner as well.
    _own: OwnedSemaphorePermit,
}

impl Shares {
    /// So many places.
    pub(crate) fn new(places: usize) -> Shares {
        Shares { all: Arc::new(Semaphore::new(places)), share: places / 2, owners: Mutex::default() }
    }

    /// Waits for a place, in turn.
    pub(crate) async fn wait(&self, owner: &Arc<str>) -> Option<Place> {
        let _own = self.of(owner).acquire_owned().await.ok()?;
        let _all = self.all.clone().acquire_owned().await.ok()?;
        Some(Place { _all, _own })
    }

    /// A place, if there is one.
    pub(crate) fn now(&self, owner: &Arc<str>) -> Option<Place> {
        let _own = self.of(owner).try_acquire_owned().ok()?;
        let _all = self.all.clone().try_acquire_owned().ok()?;
        Some(Place { _all, _own })
    }

    fn of(&self, owner: &Arc<str>) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(owner).and_then(Weak::upgrade) {
            return own;
        }
        // As many live as there are requests under way, at most.
        owners.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.share));
        owners.insert(owner.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_origin_gets_half() {
        let shares = Shares::new(4);
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(Arc::<str>::from);
        let (first, second) = (shares.wait(&one).await, shares.now(&one));
        assert!(second.is_some() && shares.now(&one).is_none());
        let (more, other) = tokio::select! {
            biased;
            _ = shares.wait(&one) => (true, None),
            other = shares.wait(&two) => (false, other),
        };
        assert!(!more && other.is_some());
        drop(first);
        assert!(shares.now(&one).is_some());
        drop((other, second));
        shares.wait(&two).await.unwrap();
        assert_eq!(shares.owners.lock().unwrap().len(), 1);
    }
}
