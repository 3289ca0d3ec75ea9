//! The progress of copies on a terminal.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar};
use vmroot::model::Descriptor;
use vmroot::{BlobState, CopyProgress, Digest, NoCopyProgress};

use crate::{bars, output};

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
        let mut known = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = known.entry(blob.digest).or_insert_with(|| self.screen.add(bars::blob_bar(&blob.digest, blob.size)));
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
