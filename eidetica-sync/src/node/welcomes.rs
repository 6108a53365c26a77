//! What peers have told of themselves, until it is put down.

use std::collections::VecDeque;

use eidetica_contract::{Address, PublicKey};
use eidetica_core::Id;

/// The most peers that wait. Whoever finds no place is served as a stranger until it introduces itself again.
const MOST: usize = 1024;
/// The most of them that one key vouches for, so that it does not take the places of others.
const EACH: usize = 32;

/// A peer that has shown a right to something here.
pub(crate) struct Welcome {
    pub peer: PublicKey,
    /// Where it can be reached.
    pub addresses: Vec<Address>,
    /// What it may read, and the key that vouches for it.
    pub databases: Vec<(Id, PublicKey)>,
}

/// Those that wait, in the order in which they have come.
#[derive(Default)]
pub(crate) struct Welcomes(VecDeque<Welcome>);

impl Welcomes {
    /// Has a peer wait, if there is a place. Of what it tells while it waits, the latest counts.
    pub fn add(&mut self, welcome: Welcome) {
        if let Some(before) = self.0.iter_mut().find(|before| before.peer == welcome.peer) {
            *before = welcome;
            return;
        }
        let vouches = |key: &PublicKey| {
            let by_key = |waits: &&Welcome| waits.databases.iter().any(|(_, by)| by == key);
            self.0.iter().filter(by_key).count()
        };
        if self.0.len() < MOST && welcome.databases.iter().any(|(_, key)| vouches(key) < EACH) {
            self.0.push_back(welcome);
        }
    }

    /// The next one.
    pub fn take(&mut self) -> Option<Welcome> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    }

    fn welcome(peer: u16, by: &[u16]) -> Welcome {
        let databases = by.iter().map(|by| (Id::from_bytes([0; 32]), key(*by))).collect();
        Welcome { peer: key(peer), addresses: Vec::new(), databases }
    }

    #[test]
    fn one_key_takes_no_place_of_others_and_all_are_bounded() {
        let mut welcomes = Welcomes::default();
        (100..1000).for_each(|peer| welcomes.add(welcome(peer, &[1])));
        assert_eq!(welcomes.0.len(), EACH);
        welcomes.add(welcome(5, &[2]));
        welcomes.add(welcome(6, &[1, 2]));
        assert_eq!(welcomes.0.len(), EACH + 2, "one that another key vouches for as well has a place");
        (1000..5000).for_each(|peer| welcomes.add(welcome(peer, &[peer])));
        assert_eq!(welcomes.0.len(), MOST);
    }

    #[test]
    fn the_first_comes_first_with_what_it_has_told_last() {
        let mut welcomes = Welcomes::default();
        (1..4).rev().for_each(|peer| welcomes.add(welcome(peer, &[1])));
        welcomes.add(welcome(3, &[1, 2]));
        let first = welcomes.take().unwrap();
        assert_eq!((first.peer, first.databases.len()), (key(3), 2));
        assert_eq!(welcomes.take().unwrap().peer, key(2));
    }
}
