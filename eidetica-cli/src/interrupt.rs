//! Ctrl-C, and SIGTERM, which asks for the same.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::failure::{Failure, INTERRUPTED};

/// Tells whether somebody wants the command to stop. Cheap to clone.
#[derive(Clone, Default)]
pub struct Interrupt {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    raised: AtomicBool,
    news: Notify,
}

impl Interrupt {
    /// Listens from now on. The first signal asks the command to stop cleanly, the second one ends it at once.
    pub fn listen() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt::default();
        #[cfg(unix)]
        let mut signals = {
            use tokio::signal::unix::{SignalKind, signal};
            [SignalKind::interrupt(), SignalKind::terminate()]
                .map(signal)
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map_err(Failure::starting)?
        };
        #[cfg(not(unix))]
        let mut signals = vec![tokio::signal::windows::ctrl_c().map_err(Failure::starting)?];
        let raised = interrupt.clone();
        tokio::spawn(async move {
            while next(&mut signals).await.is_some() {
                if raised.state.raised.swap(true, Ordering::AcqRel) {
                    std::process::exit(INTERRUPTED.into());
                }
                raised.state.news.notify_waiters();
            }
        });
        Ok(interrupt)
    }

    /// True once it has been asked to stop.
    pub fn is_raised(&self) -> bool {
        self.state.raised.load(Ordering::Acquire)
    }

    /// Waits until it is asked to stop.
    pub async fn raised(&self) {
        let _ = self.guard(std::future::pending::<Result<(), Failure>>()).await;
    }

    /// Does some work, or gives it up when it is asked to stop. For work that may be given up anywhere.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let news = self.state.news.notified();
        tokio::pin!(news);
        // Registered before the flag is looked at, so that no Ctrl-C falls between the two.
        news.as_mut().enable();
        if self.is_raised() {
            return Err(Failure::Interrupted);
        }
        tokio::select! {
            result = work => result,
            () = news => Err(Failure::Interrupted),
        }
    }
}

#[cfg(unix)]
type Signal = tokio::signal::unix::Signal;
#[cfg(not(unix))]
type Signal = tokio::signal::windows::CtrlC;

/// The next of any of these signals.
async fn next(signals: &mut [Signal]) -> Option<()> {
    std::future::poll_fn(|context| {
        let mut polled = signals.iter_mut().map(|signal| signal.poll_recv(context));
        polled.find(|polled| polled.is_ready()).unwrap_or(std::task::Poll::Pending)
    })
    .await
}
