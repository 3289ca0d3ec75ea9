//! Copies that are cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vmroot_compress::Target;
use vmroot_copy::{Compression, Error};
use vmroot_errors::ErrorKind;

use crate::destination::MemoryDestination;
use crate::image::image;
use crate::source::{Fault, MemorySource};
use crate::{copy, options};

#[test]
fn a_cancelled_copy_leaves_no_image() {
    for compression in [None, Some(Compression { target: Target::Zstd { level: None }, force: false })] {
        // The copy is cancelled at each read in turn, until one has more reads than that and ends.
        let mut cancelled = 0;
        loop {
            let image = image("amd64");
            let mut source = MemorySource::of_image(&image);
            let mut options = options();
            options.compression = compression;
            let (cancel, reads) = (options.cancel.clone(), Arc::new(AtomicUsize::new(0)));
            source.before_read = Some(Arc::new(move || {
                if reads.fetch_add(1, Ordering::Relaxed) == cancelled {
                    cancel.cancel();
                }
            }));
            let destination = MemoryDestination::new();
            match copy(&source, &destination, options) {
                Ok(_) => break,
                Err(error) => {
                    assert!(matches!(error, Error::Cancelled), "{error:?}");
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    destination.assert_no_image();
                }
            }
            cancelled += 1;
        }
        assert!(cancelled > 3, "{cancelled} reads");
    }
}

#[test]
fn a_cancelled_copy_does_not_wait_for_its_next_try() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    source.fail(image.layers[0].digest, [Fault::Cut(1); 5]);
    let mut options = options();
    options.retry_delay = Some(std::time::Duration::from_secs(3600));
    let (cancel, reads) = (options.cancel.clone(), AtomicUsize::new(0));
    source.before_read = Some(Arc::new(move || {
        if reads.fetch_add(1, Ordering::Relaxed) == 1 {
            let cancel = cancel.clone();
            std::thread::spawn(move || cancel.cancel());
        }
    }));
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, options).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    destination.assert_no_image();
}
