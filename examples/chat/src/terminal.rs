//! The terminal: taken over, given back, and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eidetica::{Error, ErrorKind};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste, Event};
use ratatui::crossterm::execute;
use tokio::sync::mpsc;

/// How often the reader of keys looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// How many keys may wait. Whoever pastes without marks sends many.
const KEYS: usize = 1024;

/// Takes the terminal over. A panic gives it back, too.
pub fn open() -> eidetica::Result<DefaultTerminal> {
    let terminal = ratatui::try_init().map_err(failed)?;
    // Without it a paste comes as keys, and each of its lines is sent by itself.
    if let Err(error) = execute!(std::io::stdout(), EnableBracketedPaste) {
        close();
        return Err(failed(error));
    }
    Ok(terminal)
}

/// Gives the terminal back.
pub fn close() {
    // If it is gone there is nobody to be told.
    let _ = execute!(std::io::stdout(), DisableBracketedPaste);
    ratatui::restore();
}

pub fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "the terminal cannot be used").caused_by(error)
}

/// What comes from the terminal, read by a thread that ends when this is dropped.
pub struct Keys {
    events: mpsc::Receiver<std::io::Result<Event>>,
    ended: Arc<AtomicBool>,
}

impl Keys {
    pub fn read() -> Keys {
        let (tell, events) = mpsc::channel(KEYS);
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        tokio::task::spawn_blocking(move || {
            while !end.load(Ordering::Relaxed) {
                let event = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let failed = event.is_err();
                if tell.blocking_send(event).is_err() || failed {
                    return;
                }
            }
        });
        Keys { events, ended }
    }

    /// The next event. Errors: those of the terminal.
    pub async fn next(&mut self) -> std::io::Result<Event> {
        let gone = || Err(std::io::Error::other("the terminal is not read any longer"));
        self.events.recv().await.unwrap_or_else(gone)
    }

    /// One more, if it has come already.
    pub fn ready(&mut self) -> Option<Event> {
        self.events.try_recv().ok()?.ok()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Signals that end the program as Esc does: the terminal is given back, and others are told.
pub struct Ends {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Ends {
    #[cfg(unix)]
    pub fn new() -> std::io::Result<Ends> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Ends { signals: [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?] })
    }

    #[cfg(not(unix))]
    pub fn new() -> std::io::Result<Ends> {
        Ok(Ends {})
    }

    #[cfg(unix)]
    pub async fn come(&mut self) {
        let [terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub async fn come(&mut self) {
        std::future::pending().await
    }
}
