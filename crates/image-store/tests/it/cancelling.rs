//! Tests of cancelled and resumed work.

use std::thread;
use std::time::Duration;

use vmroot_errors::ErrorKind;
use vmroot_image_store::StoreOptions;
use vmroot_output::Cancel;
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{Fixture, builder, image, name_in, wait_until};

#[test]
fn a_pull_that_is_cancelled_keeps_what_it_has() {
    let cancel = Cancel::new();
    let fixture = Fixture::with(|options| options.cancel = cancel.clone());
    let made = image("v1");
    let reference = fixture.serve(&made, "v1");
    let layer = made.layers[0].digest;
    fixture.registry.misbehave(Rule::on(&layer.to_string()).fault(Fault::StallAfter(20_000, Duration::from_secs(60))));
    thread::scope(|scope| {
        let pull = scope.spawn(|| fixture.pull(&reference).unwrap_err().kind());
        wait_until("the request of the layer", || fixture.registry.count(&layer.to_string()) == 1);
        cancel.cancel();
        assert_eq!(pull.join().unwrap(), ErrorKind::Cancelled);
    });
    assert!(fixture.store.images().unwrap().is_empty(), "an incomplete image has no name");
    assert!(!fixture.blob(&layer).exists());

    // Cancellation of a store is permanent. A new store resumes the pull.
    let next = vmroot_image_store::Store::open(StoreOptions::new(fixture.cache())).unwrap();
    fixture.registry.behave();
    let client = vmroot_registry::Client::new(vmroot_registry::ClientOptions::default()).unwrap();
    let source = vmroot_transport::RegistrySource::new(client, reference.clone());
    let request = crate::fixture::request(&reference, vmroot_image_store::PullPolicy::Always);
    let image = next.pull(&source, &request, &(std::sync::Arc::new(vmroot_image_store::NoProgress) as _)).unwrap();
    assert_eq!(name_in(&next, &image), "v1");
}

/// Cancellation also ends a thread's wait for another thread's layer.
#[test]
fn a_pull_that_waits_for_another_can_be_cancelled() {
    let cancel = Cancel::new();
    let fixture = Fixture::with(|options| options.cancel = cancel.clone());
    let made = builder("v1").build();
    let reference = fixture.serve(&made, "v1");
    fixture.registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(100, Duration::from_millis(20))));
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..3).map(|_| scope.spawn(|| fixture.pull(&reference).unwrap_err().kind())).collect();
        wait_until("the manifest requests", || fixture.registry.count("/manifests/") >= 3);
        cancel.cancel();
        for pull in pulls {
            assert_eq!(pull.join().unwrap(), ErrorKind::Cancelled);
        }
    });
}

#[test]
fn a_check_can_be_cancelled() {
    let cancel = Cancel::new();
    let fixture = Fixture::with(|options| options.cancel = cancel.clone());
    let reference = fixture.serve(&image("v1"), "v1");
    fixture.pull(&reference).unwrap();
    cancel.cancel();
    let progress = std::sync::Arc::new(vmroot_image_store::NoProgress) as _;
    assert_eq!(fixture.store.verify(&progress).unwrap_err().kind(), ErrorKind::Cancelled);
}
