//! How far an import has come.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const STYLE: &str = "{msg} {bar:30} {percent}% of {total_bytes}, {eta} left";

/// A progress bar on a terminal; nothing elsewhere.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(json: bool) -> Progress {
        let bar = ProgressBar::hidden();
        if !json && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template(STYLE) {
                bar.set_style(style);
            }
        }
        Progress(bar)
    }

    /// Begins a pass over a file of so many bytes.
    pub fn begin(&self, what: &'static str, bytes: u64) {
        self.0.reset();
        self.0.set_length(bytes);
        self.0.set_message(what);
        if !self.0.is_hidden() {
            self.0.enable_steady_tick(Duration::from_millis(200));
        }
    }

    pub fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
