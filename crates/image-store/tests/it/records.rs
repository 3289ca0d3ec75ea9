//! Tests of image records.

use vmroot_image_store::{Error, Fallback, PullPolicy, PullRequest};
use vmroot_model::Reference;
use vmroot_transport::SeenSignatures;

use crate::fixture::{Fixture, amd64, image, name_in, request};

#[test]
fn one_image_has_many_names() {
    let fixture = Fixture::new();
    let made = image("v1");
    let first = fixture.serve(&made, "v1");
    let names = ["demo:one", "demo:two", "quay.io/x/y:z"].map(|name| Reference::parse(name).unwrap());
    let source = fixture.source(&first);
    let request = PullRequest {
        references: names.to_vec(),
        platform: amd64(),
        policy: PullPolicy::Always,
        fallback: Fallback::Refuse,
        loaded_from: None,
        admission: None,
        signatures: SeenSignatures::default(),
    };
    let image =
        fixture.store.pull(&source, &request, &(std::sync::Arc::new(vmroot_image_store::NoProgress) as _)).unwrap();
    assert_eq!(image.record().reference.as_ref(), Some(&names[0]));
    let records = fixture.store.images().unwrap();
    assert_eq!(records.iter().filter_map(|record| record.reference.clone()).collect::<Vec<_>>(), names);
    for name in
        ["demo:two", "docker.io/library/demo:one", &made.config_digest.hex()[..12], &made.config_digest.to_string()]
    {
        assert_eq!(*fixture.store.find(name, None).unwrap().id(), made.config_digest, "{name}");
    }
    let removed = fixture.store.remove_name(&fixture.store.find("demo:two", None).unwrap()).unwrap();
    assert_eq!((removed.records.len(), removed.still_named), (1, true));
    assert!(matches!(fixture.store.find("demo:two", None), Err(Error::NoSuchImage(_))));
    let removed = fixture.store.remove(&image).unwrap();
    assert_eq!((removed.records.len(), removed.still_named), (2, false));
    assert!(fixture.store.images().unwrap().is_empty());
}

#[test]
fn an_image_without_a_name_has_its_id() {
    let fixture = Fixture::new();
    let made = image("v1");
    let reference = fixture.serve(&made, "v1");
    let nameless = PullRequest { references: Vec::new(), ..request(&reference, PullPolicy::Always) };
    let progress = std::sync::Arc::new(vmroot_image_store::NoProgress) as _;
    fixture.store.pull(&fixture.source(&reference), &nameless, &progress).unwrap();
    assert_eq!(fixture.store.images().unwrap()[0].reference, None);
    assert_eq!(name_in(&fixture.store, &fixture.store.find(&made.config_digest.hex(), None).unwrap()), "v1");
    assert!(fixture.store.find(&reference.to_string(), None).is_err());
}

/// A record is read by the next store, and a cache is empty after its last image is removed and collected.
#[test]
fn a_record_is_read_by_the_next_store() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    fixture.pull(&reference).unwrap();
    let other = fixture.another();
    assert_eq!(name_in(&other, &other.find(&reference.to_string(), None).unwrap()), "v1");
    drop(other);
    assert!(fixture.store.collect().unwrap().files.is_empty());
    let image = fixture.store.find(&reference.to_string(), None).unwrap();
    fixture.store.remove_name(&image).unwrap();
    let would = fixture.store.list_unneeded().unwrap();
    assert_eq!(would.files.len(), fixture.files().len());
    assert_eq!(fixture.store.collect().unwrap(), would);
    assert!(fixture.files().is_empty());
}

/// The time of a pull does not identify a record.
#[test]
fn an_image_that_was_pulled_again_is_removed_by_its_name() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    let first = fixture.pull(&reference).unwrap();
    crate::fixture::wait_until("the next second", || {
        fixture.pull(&reference).unwrap().record().pulled != first.record().pulled
    });
    assert_eq!(fixture.store.remove_name(&first).unwrap().records.len(), 1);
    assert!(fixture.store.images().unwrap().is_empty());
}

/// A record that cannot be read may need any file, so a collection removes nothing.
#[test]
fn nothing_is_collected_while_a_record_cannot_be_read() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    fixture.pull(&reference).unwrap();
    let records: Vec<_> = fixture.files().into_iter().filter(|path| path.starts_with("images")).collect();
    assert_eq!(records.len(), 2);
    for record in &records {
        crate::fixture::replace(&fixture.cache().join(record), "not a record");
    }
    let before = fixture.files();
    assert!(matches!(fixture.store.collect(), Err(Error::Record { .. })));
    assert_eq!(fixture.files(), before);
    fixture.pull(&reference).unwrap();
    assert!(fixture.store.collect().unwrap().files.is_empty());
}

/// An image whose tag has moved stays, until a collection of the images without a name.
#[test]
fn an_image_without_a_name_is_collected_on_request() {
    let fixture = Fixture::new();
    let [first, second] = ["v1", "v2"].map(image);
    let old = *fixture.pull(&fixture.serve(&first, "v")).unwrap().id();
    let new = *fixture.pull(&fixture.serve(&second, "v")).unwrap().id();
    assert!(fixture.store.collect().unwrap().files.is_empty());
    assert_eq!(fixture.store.len().unwrap(), 2);
    // It stays as long as an image that was made from it.
    fixture.store.set_parent(&new, &old).unwrap();
    assert_eq!(fixture.store.collect_dangling().unwrap().images, []);
    fixture.store.set_parent(&old, &new).unwrap_err();
    fixture.store.delete(&new).unwrap();
    assert_eq!(fixture.pull(&fixture.serve(&second, "v")).unwrap().id(), &new);
    let would = fixture.store.list_dangling().unwrap();
    assert_eq!(would.images.iter().map(|image| image.id).collect::<Vec<_>>(), [old]);
    assert!(!would.files.is_empty());
    assert_eq!(fixture.store.len().unwrap(), 2);
    assert_eq!(fixture.store.collect_dangling().unwrap(), would);
    assert_eq!(fixture.store.ids().unwrap(), [new]);
    assert_eq!(fixture.verify(), []);
}

/// An image that has a name already is not recorded without one when it is loaded again.
#[test]
fn an_image_with_a_name_is_not_listed_without_one() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    fixture.pull(&reference).unwrap();
    let nameless = PullRequest { references: Vec::new(), ..request(&reference, PullPolicy::Always) };
    let progress = std::sync::Arc::new(vmroot_image_store::NoProgress) as _;
    fixture.store.pull(&fixture.source(&reference), &nameless, &progress).unwrap();
    let records = fixture.store.images().unwrap();
    assert_eq!(records.iter().map(|record| record.reference.as_ref()).collect::<Vec<_>>(), [Some(&reference)]);
}

/// A store sees what another one writes and removes, and files that are put into the directory.
#[test]
fn a_store_sees_the_changes_of_others() {
    let fixture = Fixture::new();
    let other = fixture.another();
    assert_eq!(other.len().unwrap(), 0);
    for number in 1..6 {
        let reference = fixture.serve(&image(&format!("v{number}")), &format!("v{number}"));
        fixture.pull(&reference).unwrap();
        assert_eq!(other.len().unwrap(), number);
    }
    other.remove(&other.find(&other.ids().unwrap()[0].to_string(), None).unwrap()).unwrap();
    assert_eq!(fixture.store.len().unwrap(), 4);
    let records = fixture.cache().join("images");
    for entry in std::fs::read_dir(&records).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    crate::fixture::wait_until("the removed records", || other.is_empty().unwrap());
}

#[test]
fn a_damaged_journal_is_reported_until_a_repair() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    fixture.pull(&reference).unwrap();
    std::fs::write(fixture.cache().join("images/journal"), "damaged").unwrap();
    for findings in [fixture.verify(), fixture.verify(), fixture.repair()] {
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].path.ends_with("images/journal.damaged") && !findings[0].is_settled(), "{findings:?}");
    }
    assert_eq!(fixture.verify(), []);
    assert_eq!(fixture.store.len().unwrap(), 1);
}
