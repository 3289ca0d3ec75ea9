//! Progress bars on standard error, when it is a terminal: one a blob, one for all.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use vmroot::output::Progress as Written;
use vmroot::{BlobProgress, Cancel, Digest, NoProgress, Progress};

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
}

const BLOB: &str = "{prefix} {bar:30} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>5}";
const ALL: &str = "total        {wide_bar} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>5}";

/// What a hook does: shows how far the work is, and stops it on Ctrl-C.
pub(crate) fn advance(bar: &ProgressBar, cancel: &Cancel, progress: Written) -> ControlFlow<()> {
    bar.set_length(progress.total_bytes);
    bar.set_position(progress.bytes);
    cancel.control_flow()
}

impl Bars {
    /// Bars for a person who looks; nothing when nobody does, or wants to.
    pub(crate) fn progress(quiet: bool) -> Arc<dyn Progress> {
        if quiet || !io::stderr().is_terminal() {
            return Arc::new(NoProgress);
        }
        Arc::new(Self { screen: MultiProgress::new(), state: Mutex::default() })
    }

    /// A single bar for work that knows how many bytes it has to do.
    pub(crate) fn single(quiet: bool, total: u64) -> ProgressBar {
        if quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        ProgressBar::new(total).with_style(style(ALL))
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are valid")
}

impl Progress for Bars {
    fn blob(&self, blob: &BlobProgress) {
        let mut state = self.state.lock().expect("nobody panics while holding it");
        let State { blobs, all } = &mut *state;
        let bar = blobs.entry(blob.digest).or_insert_with(|| {
            let bar = ProgressBar::new(blob.total).with_style(style(BLOB)).with_position(blob.current);
            bar.set_prefix(blob.digest.hex()[..12].to_owned());
            bar.reset_eta();
            self.screen.insert(0, bar)
        });
        bar.set_position(blob.current);
        if blob.current == blob.total {
            bar.finish();
        }
        let all = all.get_or_insert_with(|| self.screen.add(ProgressBar::new(blob.image_total).with_style(style(ALL))));
        all.set_position(blobs.values().map(ProgressBar::position).sum());
    }

    fn message(&self, message: &str) {
        // Nothing to do for a screen that is gone.
        let _ = self.screen.println(output::for_terminal(message));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let _ = self.screen.clear();
    }
}
