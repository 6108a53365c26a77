//! Callers that wait for news: at most one wait for each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use eidetica_contract::PublicKey;
use tokio::sync::oneshot;

/// The most callers that wait.
const MOST: usize = 1024;

/// Who waits.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    closed: bool,
    next: u64,
    by_peer: BTreeMap<PublicKey, (u64, oneshot::Sender<()>)>,
}

/// The place of one who waits; given back when it is dropped.
pub(crate) struct Place<'w> {
    waiting: &'w Waiting,
    peer: PublicKey,
    number: u64,
    /// Ends when the same caller waits anew, or nobody may wait any longer.
    pub ended: oneshot::Receiver<()>,
}

impl Waiting {
    /// A place for a caller; a wait of the same caller ends. `None` if too many wait, or nobody
    /// may any longer.
    pub fn enter(&self, peer: PublicKey) -> Option<Place<'_>> {
        let mut waits = self.waits();
        if waits.closed || waits.by_peer.len() >= MOST && !waits.by_peer.contains_key(&peer) {
            return None;
        }
        waits.next += 1;
        let number = waits.next;
        let (end, ended) = oneshot::channel();
        // Dropping the sender of the one before ends it.
        waits.by_peer.insert(peer, (number, end));
        Some(Place { waiting: self, peer, number, ended })
    }

    /// Ends all waits.
    pub fn end_all(&self) {
        self.waits().by_peer.clear();
    }

    /// Ends all waits, and lets nobody wait any longer.
    pub fn close(&self) {
        let mut waits = self.waits();
        waits.closed = true;
        waits.by_peer.clear();
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waits = self.waiting.waits();
        if waits.by_peer.get(&self.peer).is_some_and(|(number, _)| *number == self.number) {
            waits.by_peer.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wait_for_each_caller() {
        let (waiting, peer) = (Waiting::default(), PublicKey::from_bytes([1; 32]));
        let mut first = waiting.enter(peer).unwrap();
        let mut second = waiting.enter(peer).unwrap();
        assert!(first.ended.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        // The place of the second is not given back by the first.
        drop(first);
        assert!(second.ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        waiting.end_all();
        assert!(second.ended.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn places_are_bounded() {
        let waiting = Waiting::default();
        let peer = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            PublicKey::from_bytes(bytes)
        };
        let places: Vec<_> = (0..MOST as u32).map(|number| waiting.enter(peer(number)).unwrap()).collect();
        assert!(waiting.enter(peer(9999)).is_none());
        assert!(waiting.enter(peer(0)).is_some());
        drop(places);
        assert!(waiting.enter(peer(9999)).is_some());
        waiting.close();
        assert!(waiting.enter(peer(9999)).is_none());
    }
}
