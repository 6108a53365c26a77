//! What a connection is doing, how long it may do so, and the stream that notices it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::HttpLimits;
use crate::deadline::after;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    Silent,
    /// It sends the head of a request.
    Head,
    /// The head of a request is there; its body has a deadline of its own.
    Body,
    /// A whole request is there, and the service takes what it needs.
    Busy,
    /// An answer is on its way out.
    Answered,
}

/// The phase of one connection, since when, and until when it may last.
pub(crate) struct Clock {
    limits: HttpLimits,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    phase: Phase,
    since: Instant,
    deadline: Option<Instant>,
}

impl Clock {
    /// The clock of a new connection, which is expected to say something soon.
    pub(crate) fn new(limits: HttpLimits) -> Clock {
        let deadline = Some(after(limits.header_timeout));
        let state = watch::Sender::new(State { phase: Phase::Silent, since: Instant::now(), deadline });
        Clock { limits, state }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    /// Since when nothing is under way; `None` while something is.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        matches!(state.phase, Phase::Silent | Phase::Head).then_some(state.since)
    }

    /// Since when a body has been coming in; `None` while none is.
    pub(crate) fn reading_since(&self) -> Option<Instant> {
        let state = self.state.borrow();
        (state.phase == Phase::Body).then_some(state.since)
    }

    /// The head of a request is there.
    pub(crate) fn begins(&self) {
        self.state.send_replace(State { phase: Phase::Body, since: Instant::now(), deadline: None });
    }

    /// All of it is there.
    pub(crate) fn received(&self) {
        self.state.send_replace(State { phase: Phase::Busy, since: Instant::now(), deadline: None });
    }

    /// Its answer is there.
    pub(crate) fn answered(&self) {
        let deadline = Some(after(self.limits.idle_timeout));
        self.state.send_replace(State { phase: Phase::Answered, since: Instant::now(), deadline });
    }

    /// Bytes have come in.
    fn hears(&self) {
        self.state.send_if_modified(|state| {
            let begins = state.phase == Phase::Silent;
            if begins {
                // Not since now: who sends a byte now and then is as good as silent.
                state.phase = Phase::Head;
                let deadline = after(self.limits.header_timeout);
                state.deadline = Some(state.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
            }
            begins
        });
    }

    /// All bytes are out. The deadline stays: it covers the answer and the silence after it.
    fn flushed(&self) {
        self.state.send_if_modified(|state| {
            if state.phase == Phase::Answered {
                state.phase = Phase::Silent;
            }
            false
        });
    }

    /// Ends when the connection has taken too long over what it is doing.
    pub(crate) async fn passed(&self) {
        let mut state = self.state.subscribe();
        loop {
            let deadline = state.borrow_and_update().deadline;
            let passed = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                _ = state.changed() => {}
            }
        }
    }
}

/// A stream that tells its clock.
pub(crate) struct Watched {
    pub(crate) stream: TcpStream,
    pub(crate) clock: Arc<Clock>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.clock.hears();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.clock.flushed();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
