//! Which counters have been seen.

use super::wire::REPLAY_WINDOW;

const WORDS: usize = REPLAY_WINDOW as usize / 64;

/// A bitmap of the last [`REPLAY_WINDOW`] counters: requests may overtake each other within it, and none counts twice.
pub(crate) struct Window {
    /// One more than the greatest counter seen.
    next: u32,
    bits: [u64; WORDS],
}

impl Window {
    pub(crate) fn new() -> Window {
        Window { next: 0, bits: [0; WORDS] }
    }

    /// True if the counter was not seen and is not too old. To be asked before opening a frame, which is the costly
    /// part.
    pub(crate) fn is_new(&self, counter: u32) -> bool {
        let old = counter.saturating_add(REPLAY_WINDOW) < self.next;
        let behind = counter < self.next;
        !old && (!behind || self.bits[word(counter)] & bit(counter) == 0)
    }

    /// Notes a counter whose frame has proven genuine. False if it is not new.
    pub(crate) fn note(&mut self, counter: u32) -> bool {
        if !self.is_new(counter) {
            return false;
        }
        if counter >= self.next {
            if counter - self.next >= REPLAY_WINDOW {
                self.bits = [0; WORDS];
            } else {
                (self.next..counter).for_each(|skipped| self.bits[word(skipped)] &= !bit(skipped));
            }
            self.next = counter + 1;
        }
        self.bits[word(counter)] |= bit(counter);
        true
    }
}

fn word(counter: u32) -> usize {
    (counter % REPLAY_WINDOW / 64) as usize
}

fn bit(counter: u32) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_counter_counts_once_and_old_ones_never(steps in prop::collection::vec(0u32..6000, 1..400)) {
            let (mut window, mut seen, mut next) = (Window::new(), BTreeSet::new(), 0u32);
            for counter in steps {
                let fresh = counter + REPLAY_WINDOW >= next && !seen.contains(&counter);
                prop_assert_eq!(window.is_new(counter), fresh);
                prop_assert_eq!(window.note(counter), fresh);
                if fresh {
                    seen.insert(counter);
                    next = next.max(counter + 1);
                }
            }
        }
    }

    #[test]
    fn the_last_in_the_window_counts_and_the_one_before_does_not() {
        let mut window = Window::new();
        assert!(window.note(REPLAY_WINDOW));
        assert!(!window.is_new(0));
        assert!(window.note(1));
        assert!(!window.note(1));
    }
}
