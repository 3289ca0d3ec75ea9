//! Copies of one copier, which share blobs and permits.

use std::sync::Arc;
use std::thread;

use vmroot_copy::Copier;
use vmroot_model::Reference;

use crate::destination::MemoryDestination;
use crate::image::{builder, image};
use crate::source::MemorySource;
use crate::{layer, options};

#[test]
fn a_blob_of_two_images_is_copied_once() {
    let (amd64, arm64) = (image("amd64"), image("arm64"));
    let shared = amd64.layers[0].digest;
    assert_eq!(shared, arm64.layers[0].digest);
    let copier = Copier::new(options());
    let (first, second) = (MemorySource::of_image(&amd64), MemorySource::of_image(&arm64));
    copier.copy(&first, &MemoryDestination::new()).unwrap();
    // The destinations have one scope, so the second one is taken to have the blob. It checks that itself.
    let destination = MemoryDestination::new();
    destination.state().blobs.insert(shared, Vec::new());
    let report = copier.copy(&second, &destination).unwrap();
    assert_eq!((first.opened(&shared), second.opened(&shared)), (1, 0));
    assert_eq!((report.written, report.reused), (1, 1));
}

#[test]
fn a_blob_can_come_from_another_repository() {
    let image = image("amd64");
    let layer = image.layers[0].digest;
    let repository = |name: &str| Some(Reference::parse(name).unwrap());
    let destination = |name| {
        let mut destination = MemoryDestination::new();
        destination.repository = repository(name);
        destination
    };
    let mut source = MemorySource::of_image(&image);
    source.repository = repository("registry.example/source:1");
    let same = destination("registry.example/destination:1");
    Copier::new(options()).copy(&source, &same).unwrap();
    let origins = same.state().origins[&layer].clone();
    assert_eq!(origins.iter().map(Reference::path).collect::<Vec<_>>(), ["source"]);

    for name in ["registry.example/source:2", "other.example/destination:1"] {
        let other = destination(name);
        Copier::new(options()).copy(&source, &other).unwrap();
        assert!(other.state().origins[&layer].is_empty(), "{name}");
    }
}

#[test]
fn all_copies_of_a_copier_share_its_permits() {
    let mut options = options();
    options.parallel = 2;
    let copier = Copier::new(options);
    let destinations: Vec<MemoryDestination> = (0..3).map(|_| MemoryDestination::new()).collect();
    thread::scope(|scope| {
        for (number, destination) in destinations.iter().enumerate() {
            let copier = &copier;
            scope.spawn(move || {
                let layers: Vec<_> = (0..8).map(|layer_number| layer(&format!("{number}-{layer_number}"))).collect();
                let image = builder("amd64").layers(&layers).build();
                let mut source = MemorySource::of_image(&image);
                // Other threads get a chance to exceed the limit.
                source.before_read = Some(Arc::new(thread::yield_now));
                copier.copy(&source, destination).unwrap();
            });
        }
    });
    for destination in &destinations {
        // A config is written without a permit, after the layers.
        let most = destination.state().most_writers;
        assert!((1..=2).contains(&most), "{most}");
        destination.top();
    }
}
