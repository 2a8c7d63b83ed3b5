//! Progress, on standard error where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar in thousandths with a line of text; gone without a trace when dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        // Draws nothing unless standard error is a terminal.
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {percent:>3} %  {elapsed:>4}  {msg}")
        {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// Says what is being done, and how much of the whole is done, 0 to 1.
    pub(crate) fn say(&self, what: &str, done: f64) {
        self.0.set_message(what.to_owned());
        self.0.set_position((done.clamp(0.0, 1.0) * 1000.0) as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
