//! The live line on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::drive::Progress;

const TEMPLATE: &str = "{elapsed_precise} {wide_bar} {human_pos}/{human_len} published  {msg}  eta {eta}";

/// A line that is drawn only where stderr is a terminal.
#[derive(Debug)]
pub struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// A line for so many records.
    pub fn new(records: u64) -> Self {
        // draws nothing unless stderr is a terminal
        let bar = ProgressBar::with_draw_target(Some(records), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        ProgressLine(bar)
    }

    /// Shows how far it is.
    pub fn show(&self, progress: Progress) {
        self.0.set_position(progress.published);
        self.0.set_message(format!("{} done, {} again, {} dead", progress.finished, progress.redelivered, progress.dead_lettered));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
