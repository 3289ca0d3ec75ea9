//! The progress of copies on a terminal.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use vmroot::model::Descriptor;
use vmroot::{BlobState, CopyProgress, Digest, NoCopyProgress};

use crate::output;

const TEMPLATE: &str = "{prefix} {bar:30} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>5}";

/// A bar for each blob that is copied.
pub(crate) struct CopyBars {
    screen: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

impl CopyBars {
    /// Returns bars; without a terminal or with `quiet`, a progress that shows nothing.
    pub(crate) fn progress(quiet: bool) -> Arc<dyn CopyProgress> {
        if quiet || !io::stderr().is_terminal() {
            return Arc::new(NoCopyProgress);
        }
        Arc::new(Self { screen: MultiProgress::new(), bars: Mutex::default() })
    }

    fn bar(&self, blob: &Descriptor) -> ProgressBar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(blob.digest).or_insert_with(|| {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template above is valid");
            let bar = ProgressBar::new(blob.size).with_style(style);
            bar.set_prefix(blob.digest.hex()[..12].to_owned());
            self.screen.add(bar)
        });
        bar.clone()
    }
}

impl CopyProgress for CopyBars {
    fn blob(&self, blob: &Descriptor, state: BlobState) {
        let bar = self.bar(blob);
        match state {
            BlobState::Started => bar.reset(),
            BlobState::Read(count) => bar.set_position(count),
            _ => {
                bar.set_position(blob.size);
                bar.finish();
            }
        }
    }

    fn message(&self, message: &str) {
        // The error is ignored: the terminal is gone.
        let _ = self.screen.println(output::escape_for_terminal(message));
    }
}

impl Drop for CopyBars {
    fn drop(&mut self) {
        let _ = self.screen.clear();
    }
}
