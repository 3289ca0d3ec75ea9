//! Progress bars on standard error, if it is a terminal: one for each blob, and one for the total.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use vmroot::output::WriteProgress;
use vmroot::{BlobProgress, Cancel, Digest, NoProgress, Progress, VerifyProgress};

use crate::output;

/// The bars of a pull.
pub(crate) struct Bars {
    screen: MultiProgress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blobs: HashMap<Digest, ProgressBar>,
    all: Option<ProgressBar>,
    verified: Option<ProgressBar>,
}

const BLOB_TEMPLATE: &str = "{prefix} {bar:30} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>5}";
const TOTAL_TEMPLATE: &str = "total        {wide_bar} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>5}";

/// Shows the progress of a writer, and stops the writer if the work is cancelled. This is the body of a progress hook.
pub(crate) fn advance(bar: &ProgressBar, cancel: &Cancel, progress: WriteProgress) -> ControlFlow<()> {
    bar.set_length(progress.total_bytes);
    bar.set_position(progress.bytes);
    cancel.control_flow()
}

impl Bars {
    /// Returns bars for a pull; without a terminal or with `quiet`, a progress that shows nothing.
    pub(crate) fn progress(quiet: bool) -> Arc<dyn Progress> {
        if quiet || !io::stderr().is_terminal() {
            return Arc::new(NoProgress);
        }
        Arc::new(Self { screen: MultiProgress::new(), state: Mutex::default() })
    }

    /// Returns one bar for work of `total` bytes; without a terminal or with `quiet`, a hidden one.
    pub(crate) fn single(quiet: bool, total: u64) -> ProgressBar {
        if quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        ProgressBar::new(total).with_style(style(TOTAL_TEMPLATE))
    }
}

/// Returns the bar of a blob of `total` bytes, for a screen.
pub(crate) fn blob_bar(digest: &Digest, total: u64) -> ProgressBar {
    ProgressBar::new(total).with_style(style(BLOB_TEMPLATE)).with_prefix(digest.hex()[..12].to_owned())
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are valid")
}

impl Progress for Bars {
    fn blob(&self, blob: &BlobProgress) {
        let mut state = self.state.lock().expect("no thread panics while it holds the lock");
        let State { blobs, all, .. } = &mut *state;
        let bar = blobs.entry(blob.digest).or_insert_with(|| {
            let bar = blob_bar(&blob.digest, blob.total).with_position(blob.current);
            bar.reset_eta();
            self.screen.insert(0, bar)
        });
        bar.set_position(blob.current);
        if blob.current == blob.total {
            bar.finish();
        }
        let all = all.get_or_insert_with(|| {
            self.screen.add(ProgressBar::new(blob.image_total).with_style(style(TOTAL_TEMPLATE)))
        });
        all.set_position(blobs.values().map(ProgressBar::position).sum());
    }

    fn verified(&self, progress: &VerifyProgress) {
        let mut state = self.state.lock().expect("no thread panics while it holds the lock");
        let bar = state.verified.get_or_insert_with(|| {
            self.screen.add(ProgressBar::new(progress.total_bytes).with_style(style(TOTAL_TEMPLATE)))
        });
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
    }

    fn message(&self, message: &str) {
        // The error is ignored: the terminal is gone.
        let _ = self.screen.println(output::escape_for_terminal(message));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let _ = self.screen.clear();
    }
}
