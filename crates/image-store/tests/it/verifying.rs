//! The progress of a verification.

use std::sync::{Arc, Mutex};

use vmroot_image_store::{Progress, VerifyProgress};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;

use crate::fixture::Fixture;

#[derive(Default)]
struct Events(Mutex<Vec<VerifyProgress>>);

impl Progress for Events {
    fn verified(&self, progress: &VerifyProgress) {
        self.0.lock().unwrap().push(*progress);
    }
}

/// A large file advances by parts, and all bytes are counted once.
#[test]
fn a_verification_advances_by_bytes() {
    let fixture = Fixture::new();
    let large = Layer::new([Entry::file("large", noise(1, 20 << 20)), Entry::file("small", "text")]);
    let many = Layer::new((0..3000).map(|number| Entry::file(format!("{number}"), noise(number, 5000))));
    let reference = fixture.serve(&ImageBuilder::new().layer(&large).layer(&many).build(), "v1");
    fixture.pull(&reference).unwrap();
    let events = Arc::new(Events::default());
    let report = fixture.store.verify(&(Arc::clone(&events) as Arc<dyn Progress>)).unwrap();
    let mut bytes: Vec<u64> = events.0.lock().unwrap().iter().map(|event| event.bytes).collect();
    bytes.sort_unstable();
    assert_eq!(*bytes.last().unwrap(), report.bytes);
    assert!(events.0.lock().unwrap().iter().all(|event| event.total_bytes == report.bytes));
    let steps = std::iter::once(&0).chain(&bytes).zip(&bytes).map(|(before, after)| after - before);
    // A step ends with the read that completes a mebibyte.
    assert!(steps.clone().max().unwrap() <= 2 << 20, "{:?}", steps.collect::<Vec<_>>());
    assert!((40..400).contains(&bytes.len()), "{} events for {} bytes", bytes.len(), report.bytes);
}
