//! Tests of concurrent threads of one store, and of several stores of one cache.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use vmroot_cache::{Cache, Lock, LockName, Mode, wait_forever};
use vmroot_image_store::{BlobProgress, CollectOptions, Error, Holder, NoProgress, Progress, PullPolicy, Store};
use vmroot_model::{Descriptor, MediaType, Reference};
use vmroot_testkit::registry::{Fault, Rule};
use vmroot_transport::{ImageDestination as _, ManifestPlace, Reuse};

use crate::fixture::{Fixture, image, name_in, no_progress, request, wait_until};

/// Collects, and returns the removed files. A temporary file can be among them between its creation and its lock. Its
/// writer then makes another one, so it does not count.
fn collect(store: &Store) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".tmp-");
    store.collect().unwrap().files.into_iter().filter(|path| !is_temporary(path)).collect()
}

/// A collection must not remove files that a pull has just fetched.
#[test]
fn a_collection_keeps_the_files_of_a_running_pull() {
    let fixture = Fixture::new();
    let made = image("slow");
    let reference = fixture.serve(&made, "v1");
    let slow = made.layers[1].digest.to_string();
    fixture.registry.misbehave(Rule::on(&slow).fault(Fault::Slow(1000, Duration::from_millis(20))));
    let collections = AtomicUsize::new(0);
    thread::scope(|scope| {
        let pull = scope.spawn(|| fixture.pull(&reference).unwrap());
        wait_until("the first layer", || fixture.layer(&made.layers[0].diff_id, "idx").exists());
        while !pull.is_finished() {
            assert_eq!(collect(&fixture.store), [] as [PathBuf; 0]);
            collections.fetch_add(1, Ordering::SeqCst);
        }
        assert_eq!(name_in(&fixture.store, &pull.join().unwrap()), "slow");
    });
    assert!(collections.into_inner() > 1, "a collection does not wait for the pull");
    assert_eq!(fixture.verify(), []);
    assert_eq!(fixture.registry.count("/blobs/"), 3, "nothing was fetched twice");
}

/// Partial blobs of dead processes are removed. Those of a running pull stay.
#[test]
fn a_collection_removes_only_abandoned_partial_blobs() {
    let fixture = Fixture::new();
    let made = image("slow");
    let reference = fixture.serve(&made, "v1");
    let stale = vmroot_model::Digest::of(b"stale");
    let partial = |digest: &vmroot_model::Digest| fixture.blob(digest).with_extension("partial");
    std::fs::write(partial(&stale), "half").unwrap();
    let layer = made.layers[1].digest;
    let stall = Fault::StallAfter(20_000, Duration::from_secs(5));
    fixture.registry.misbehave(Rule::on(&layer.to_string()).times(1).fault(stall));
    thread::scope(|scope| {
        let pull = scope.spawn(|| fixture.pull(&reference).unwrap());
        wait_until("the part", || partial(&layer).exists());
        assert_eq!(collect(&fixture.store), [partial(&stale)]);
        assert!(partial(&layer).exists());
        pull.join().unwrap();
    });
    assert_eq!(fixture.verify(), []);
}

/// A live [`Image`] can be opened even after its tag has moved to another image.
#[test]
fn a_live_image_outlives_its_name() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("old"), "v1");
    let old = fixture.pull(&reference).unwrap();
    fixture.serve(&image("new"), "v1");
    let new = fixture.pull(&reference).unwrap();
    // The old image is recorded without a name, until it is removed by its id.
    let nameless = fixture.store.find(&old.id().to_string(), None).unwrap();
    assert_eq!(nameless.record().reference, None);
    assert_eq!(fixture.store.remove(&nameless).unwrap().records.len(), 1);
    assert!(fixture.store.collect().unwrap().files.is_empty());
    assert_eq!((name_in(&fixture.store, &old), name_in(&fixture.store, &new)), ("old".into(), "new".into()));
    let clone = old.clone();
    drop(old);
    assert!(fixture.store.collect().unwrap().files.is_empty(), "a clone keeps the files too");
    let root = fixture.store.root(&clone, &no_progress()).unwrap();
    drop(clone);
    // The files: manifest, config and a layer blob; index and contents; a root.
    assert_eq!(fixture.store.collect().unwrap().files.len(), 6);
    // An open root stays readable.
    let ino = root.resolve_path(b"own").unwrap().ino;
    let mut bytes = vec![0; 30_000];
    assert_eq!(root.read_at(ino, 0, &mut bytes).unwrap(), 30_000);
    assert_eq!(bytes, vmroot_testkit::sample::noise(3, 30_000));
    assert_eq!(fixture.verify(), []);
}

/// The caller's own `Image` does not keep the files of a removed image. An `Image` of another thread does.
#[test]
fn a_removed_image_is_collected_unless_another_thread_holds_it() {
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    let other = fixture.pull(&reference).unwrap();
    let own = fixture.store.find(&reference.to_string(), None).unwrap();
    assert!(!fixture.store.remove_name(&own).unwrap().still_named);
    assert!(fixture.store.collect().unwrap().files.is_empty());
    assert_eq!(name_in(&fixture.store, &other), "v1");
    drop(other);
    assert_ne!(fixture.store.collect().unwrap().files.len(), 0, "the own image is still alive");
    assert!(fixture.files().is_empty());
    assert!(matches!(fixture.store.root(&own, &no_progress()), Err(Error::Damaged { .. })));
}

/// A progress receiver may call the store, even for a collection.
#[test]
fn progress_may_call_the_store() {
    struct CollectOnProgress(Arc<Store>, AtomicUsize);
    impl Progress for CollectOnProgress {
        fn blob(&self, _: &BlobProgress) {
            assert!(self.0.collect().unwrap().files.is_empty());
            self.0.images().unwrap();
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let fixture = Fixture::new();
    let reference = fixture.serve(&image("v1"), "v1");
    let options = vmroot_image_store::StoreOptions::new(fixture.cache().join("another"));
    let store = Arc::new(Store::open(options).unwrap());
    let progress = Arc::new(CollectOnProgress(Arc::clone(&store), AtomicUsize::new(0)));
    let source = fixture.source(&reference);
    let told: Arc<dyn Progress> = Arc::clone(&progress) as _;
    let image = store.pull(&source, &request(&reference, PullPolicy::Always), &told).unwrap();
    assert_eq!(name_in(&store, &image), "v1");
    assert_ne!(progress.1.load(Ordering::SeqCst), 0);
}

/// A root that another process is building is awaited, and the caller hears of it.
#[test]
fn opening_a_root_reports_a_wait() {
    /// Ends the other process's work when the wait is reported.
    struct EndWork(Mutex<Option<Lock>>);
    impl Progress for EndWork {
        fn message(&self, message: &str) {
            assert!(message.contains("waiting for another process"), "{message}");
            assert!(self.0.lock().unwrap().take().is_some(), "reported twice");
        }
    }
    let fixture = Fixture::new();
    let image = fixture.pull(&fixture.serve(&image("v1"), "v1")).unwrap();
    let diff_id = image.record().layers[0].diff_id;
    for open in [|store: &Store, image: &_, progress: &_| store.root(image, progress).map(drop), Store::make_complete] {
        std::fs::remove_file(fixture.layer(&diff_id, "contents")).unwrap();
        let cache = Cache::open(fixture.cache()).unwrap();
        let lock = cache.lock(&LockName::Layer(diff_id), Mode::Exclusive, &mut wait_forever).unwrap();
        let progress = Arc::new(EndWork(Mutex::new(Some(lock))));
        open(&fixture.store, &image, &(Arc::clone(&progress) as Arc<dyn Progress>)).unwrap();
        assert!(progress.0.lock().unwrap().is_none(), "the wait was not reported");
        assert_eq!(name_in(&fixture.store, &image), "v1");
    }
}

/// Another store has uses of its own, as another process would. It removes and collects what this one pulls and holds.
#[test]
fn stores_collect_beside_each_other() {
    let fixture = Fixture::new();
    let other = fixture.another();
    let reference = fixture.serve(&image("v1"), "v1");
    thread::scope(|scope| {
        let pulls = scope.spawn(|| {
            for _ in 0..30 {
                let image = fixture.pull(&reference).unwrap();
                let theirs = other.find(&reference.to_string(), None).unwrap();
                other.remove(&theirs).unwrap();
                drop(theirs);
                assert_eq!(name_in(&fixture.store, &image), "v1");
            }
        });
        let mut removed = 0;
        while !pulls.is_finished() {
            removed += other.collect().unwrap().files.len();
            fixture.store.collect().unwrap();
        }
        assert_ne!(removed, 0);
        pulls.join().unwrap();
    });
    other.collect().unwrap();
    assert!(fixture.files().is_empty());
}

/// What a collection keeps for another store is named.
#[test]
fn holders_of_an_image_are_named() {
    let fixture = Fixture::with(|options| options.purpose = "test 1".to_owned());
    let other = fixture.another();
    let reference = fixture.serve(&image("v1"), "v1");
    let held = fixture.pull(&reference).unwrap();
    let theirs = other.find(&reference.to_string(), None).unwrap();
    let holders = other.holders(&theirs).unwrap();
    assert!(
        matches!(&holders[..], [Holder::Process { purpose, pid, .. }] if purpose == "test 1" && *pid == std::process::id())
    );
    let unused = CollectOptions { unused: true, ..CollectOptions::default() };
    let collected = other.collect_with(&unused, &(Arc::new(NoProgress) as _)).unwrap();
    assert_eq!((collected.images.len(), collected.kept.len()), (0, 1));
    other.remove(&theirs).unwrap();
    let collected = other.collect().unwrap();
    assert_eq!((collected.files.len(), collected.held_by), (0, holders));
    drop(held);
    assert_ne!(other.collect().unwrap().files.len(), 0);
    assert!(fixture.files().is_empty());
}

/// The blobs of a copy have no record until its end.
#[test]
fn a_collection_keeps_the_blobs_of_a_copy() {
    let fixture = Fixture::new();
    let other = fixture.another();
    let destination = fixture.store.destination(&Reference::parse("copied:1").unwrap(), &no_progress());
    let document = br#"{"schemaVersion":2}"#;
    destination.put_manifest(document, &MediaType::OCI_MANIFEST, ManifestPlace::Instance).unwrap();
    assert_eq!(other.collect().unwrap().files.len(), 0);
    // A blob that is there, and that no image needs.
    let blob = Descriptor::of(MediaType::OCI_LAYER, document);
    let second = other.destination(&Reference::parse("copied:2").unwrap(), &no_progress());
    assert!(matches!(second.reuse_blob(&blob, &[]).unwrap(), Reuse::Present));
    drop(destination);
    assert_eq!(fixture.store.collect().unwrap().files.len(), 0);
    drop(second);
    assert_eq!(fixture.store.collect().unwrap().files, [fixture.blob(&blob.digest)]);
}

/// Earlier versions hold the lock of the cache, and do not list what they need.
#[test]
fn nothing_is_removed_while_an_earlier_version_uses_the_cache() {
    let fixture = Fixture::new();
    let image = fixture.pull(&fixture.serve(&image("v1"), "v1")).unwrap();
    fixture.store.remove(&image).unwrap();
    let cache = Cache::open(fixture.cache()).unwrap();
    let earlier = cache.lock(&LockName::Cache, Mode::Shared, &mut wait_forever).unwrap();
    let error = fixture.store.collect().unwrap_err();
    assert!(matches!(error, Error::InUse { .. }) && error.to_string().contains("earlier version"), "{error}");
    drop(earlier);
    assert_ne!(fixture.store.collect().unwrap().files.len(), 0);
}

/// Threads that pull one image share the work, and each gets the image.
#[test]
fn concurrent_pulls_of_one_image_fetch_it_once() {
    let fixture = Fixture::new();
    let made = image("v1");
    let reference = fixture.serve(&made, "v1");
    fixture.registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(5000, Duration::from_millis(2))));
    thread::scope(|scope| {
        let pull = || scope.spawn(|| name_in(&fixture.store, &fixture.pull(&reference).unwrap()));
        let pulls: Vec<_> = (0..8).map(|_| pull()).collect();
        assert!(pulls.into_iter().all(|pull| pull.join().unwrap() == "v1"));
    });
    for layer in &made.layers {
        assert_eq!(fixture.registry.count(&layer.digest.to_string()), 1);
    }
}

/// Files that another store or thread removes or writes during a verification are neither missing nor damaged.
#[test]
fn concurrent_changes_are_not_findings() {
    let fixture = Fixture::new();
    let other = fixture.another();
    let references: Vec<_> = ["a", "bb", "ccc"].map(|text| fixture.serve(&image(text), text)).into_iter().collect();
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    for verified in [&fixture.store, &other] {
        thread::scope(|scope| {
            let changes = scope.spawn(|| {
                for round in 0..60 {
                    let image = fixture.pull(&references[round % 3]).unwrap();
                    fixture.store.remove(&image).unwrap();
                    fixture.store.collect().unwrap();
                }
            });
            while !changes.is_finished() {
                assert_eq!(verified.verify(&progress).unwrap().findings, []);
                assert_eq!(verified.repair(&fixture, &progress).unwrap().findings, []);
            }
            changes.join().unwrap();
        });
    }
    fixture.store.collect().unwrap();
    assert!(fixture.files().is_empty());
}
