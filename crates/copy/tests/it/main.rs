//! Tests of copies between sources and destinations in memory that misbehave.

mod destination;
mod image;
mod source;

mod blobs;
mod cancelling;
mod encryption;
mod formats;
mod lists;
mod referrers;
mod sharing;

use vmroot_copy::{Copier, CopyOptions, CopyReport, Error, Selection};
use vmroot_testkit::layer::{Entry, Layer};

use destination::MemoryDestination;
use source::MemorySource;

/// Returns options without pauses.
fn options() -> CopyOptions {
    let mut options = CopyOptions::default();
    options.retry_delay = Some(std::time::Duration::ZERO);
    options.selection = Selection::All;
    options
}

fn copy(source: &MemorySource, destination: &MemoryDestination, options: CopyOptions) -> Result<CopyReport, Error> {
    Copier::new(options).copy(source, destination)
}

/// Returns a layer with one file.
fn layer(name: &str) -> Layer {
    Layer::new([Entry::file(name, name.repeat(1000))])
}

/// Returns the message of an error and its causes.
fn message(error: &Error) -> String {
    vmroot_errors::with_causes(error).to_string()
}
