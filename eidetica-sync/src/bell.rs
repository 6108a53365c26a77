//! A bell that all who wait for it hear in the order in which they began to wait.
//!
//! The channels of tokio that tell several of one change wake them in random order, with which no run could be repeated.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts how often it has rung.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: AtomicU64,
    waiting: Notify,
}

impl Bell {
    /// Rings: all who wait look again.
    pub fn ring(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.waiting.notify_waiters();
    }

    /// How often it has rung.
    pub fn rings(&self) -> u64 {
        self.rings.load(Ordering::SeqCst)
    }

    /// Returns when it has rung more often than this.
    pub async fn after(&self, rings: u64) {
        loop {
            // Made before the look, it hears what rings in between.
            let next = self.waiting.notified();
            if self.rings() > rings {
                return;
            }
            next.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Bell;

    #[tokio::test]
    async fn it_is_heard_in_the_same_order_each_time_and_a_ring_before_is_heard_at_once() {
        assert_eq!(order().await, order().await);
    }

    async fn order() -> Vec<u32> {
        let (bell, heard) = (Arc::<Bell>::default(), Arc::<Mutex<Vec<u32>>>::default());
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (bell, heard) = (bell.clone(), heard.clone());
            tasks.spawn(async move {
                bell.after(0).await;
                heard.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        bell.ring();
        tasks.join_all().await;
        bell.after(0).await;
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard.len(), 100);
        heard
    }
}
