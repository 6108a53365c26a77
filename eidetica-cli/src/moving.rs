//! How far transfers have come.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value as Json;

use crate::node::Moved;

const STYLE: &str = "{msg} {bar:30} {pos} of {len} entries, {per_sec}, {eta} left";

/// A progress bar for each transfer on a terminal; nothing elsewhere.
pub struct Moving {
    bars: MultiProgress,
    shown: bool,
    by_transfer: BTreeMap<(String, String), ProgressBar>,
}

impl Moving {
    pub fn new(json: bool) -> Moving {
        let shown = !json && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        Moving { bars: MultiProgress::with_draw_target(target), shown, by_transfer: BTreeMap::new() }
    }

    /// Shows what a node tells of a transfer.
    pub fn tell(&mut self, moved: Json) {
        let Ok(moved) = serde_json::from_value::<Moved>(moved) else { return };
        let (done, left) = (moved.received + moved.sent, moved.left);
        self.at((moved.peer, moved.database), done, left);
    }

    /// Shows a transfer, between a peer and a database, of which so much is done and so much left.
    pub fn at(&mut self, transfer: (String, String), done: u64, left: u64) {
        if !self.shown || done + left == 0 {
            return;
        }
        let bar = self.by_transfer.entry(transfer).or_insert_with_key(|(_, database)| {
            let bar = self.bars.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template(STYLE) {
                bar.set_style(style);
            }
            bar.set_message(database.chars().take(crate::snapshot::PRINTED).collect::<String>());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_length(done + left);
        bar.set_position(done);
    }

    pub fn finish(&mut self) {
        std::mem::take(&mut self.by_transfer).into_values().for_each(|bar| bar.finish_and_clear());
    }
}
