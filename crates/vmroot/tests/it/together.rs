//! Eight threads that share one client, and do everything with it at once.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vmroot::{Addition, Client, ClientOptions, ErrorKind, Image, NoProgress, Progress, PullOptions, PullPolicy, Top};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

const THREADS: u64 = 8;
const TIME: Duration = Duration::from_secs(10);
/// Tags, which are moved from one image to another meanwhile.
const TAGS: u64 = 4;
const IMAGES: u64 = 6;

/// An image that shares a layer with all others, and another with half of them. It says its number.
fn image(number: u64) -> vmroot_testkit::image::Image {
    let layer = |name: String, seed: u64| Layer::new([Entry::file(name, noise(seed, 20_000))]);
    ImageBuilder::new()
        .layer(&layer("all".into(), 1))
        .layer(&layer("half".into(), 2 + number % 2))
        .layer(&layer("own".into(), 10 + number))
        .layer(&Layer::new([Entry::file("number", number.to_string())]))
        .build()
}

fn serve(registry: &Registry, tag: u64, number: u64) {
    let image = image(number);
    for (digest, bytes) in image.blobs() {
        registry.put_blob_as(&digest, bytes);
    }
    let document = &image.manifest;
    registry.put_manifest("test/image", Some(&format!("v{tag}")), &document.media_type, &document.bytes);
}

/// Reads the whole image: every file has the bytes that the image with its number has.
fn check(client: &Client, image: &Image) {
    let root = client.root(image).unwrap();
    let read = |path: &str| {
        let ino = root.resolve_path(path.as_bytes()).unwrap().ino;
        let mut bytes = vec![0; 20_001];
        let count = root.read_at(ino, 0, &mut bytes).unwrap();
        bytes.truncate(count);
        bytes
    };
    let number: u64 = String::from_utf8(read("number")).unwrap().parse().unwrap();
    for (path, seed) in [("all", 1), ("half", 2 + number % 2), ("own", 10 + number)] {
        assert!(read(path) == noise(seed, 20_000), "{path} of {number}");
    }
}

/// Puts a file on top, while others collect: its temporary directory is in the cache.
fn put_on_top(client: &Client, image: &Image) {
    let added = Addition::File { destination: b"/added".to_vec(), mode: 0o644, bytes: b"added".to_vec() };
    let top = Top { additions: vec![added], ..Top::default() };
    let on_top = client.put_on_top(client.root(image).unwrap(), &top).unwrap();
    for layer in on_top.layers() {
        assert!(layer.index.exists() && layer.contents.exists());
    }
}

/// A run of numbers that looks like chance, and differs from one thread to the next.
fn chance(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What one thread does until the time is up. Everything but looking for a name succeeds at any time.
fn work(client: &Client, registry: &Registry, thread: u64, collected: &AtomicUsize) {
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    let platform = Some(vmroot::Platform::parse("linux/amd64").unwrap());
    let mut state = thread + 1;
    let started = Instant::now();
    while started.elapsed() < TIME {
        let name = format!("{}/test/image:v{}", registry.host(), chance(&mut state) % TAGS);
        match chance(&mut state) % 8 {
            0 | 1 => {
                let policy =
                    if chance(&mut state).is_multiple_of(2) { PullPolicy::Always } else { PullPolicy::Missing };
                let options = PullOptions { platform: platform.clone(), policy, ..PullOptions::default() };
                check(client, &client.pull_with(&name, &options).unwrap());
            }
            2 => drop(collected.fetch_add(client.collect(false).unwrap().files.len(), Ordering::SeqCst)),
            3 => assert_eq!(client.verify(&progress).unwrap().findings, []),
            4 => serve(registry, chance(&mut state) % TAGS, chance(&mut state) % IMAGES),
            5 => drop(client.images().unwrap()),
            other => match client.find(&name, platform.as_ref()) {
                Ok(image) if other == 6 => {
                    client.remove(&image, true).unwrap();
                }
                Ok(image) => {
                    check(client, &image);
                    put_on_top(client, &image);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            },
        }
    }
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn eight_threads_that_pull_collect_verify_and_remove_lose_nothing() {
    let registry = Registry::start();
    (0..TAGS).for_each(|tag| serve(&registry, tag, tag));
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(ClientOptions::new(directory.path())).unwrap();
    let collected = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, registry, collected) = (&client, &registry, &collected);
            scope.spawn(move || work(client, registry, thread, collected));
        }
    });
    assert_ne!(collected.into_inner(), 0, "collections do not only wait");

    // Everything present is whole, and nothing else is there.
    registry.clear_requests();
    for record in client.images().unwrap() {
        let name = record.reference.unwrap().to_string();
        check(&client, &client.find(&name, Some(&record.platform)).unwrap());
    }
    assert_eq!(registry.requests().len(), 0);
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    assert_eq!(client.verify(&progress).unwrap().findings, []);
    client.collect(false).unwrap();
    assert!(client.collect(true).unwrap().files.is_empty());
    for record in client.images().unwrap() {
        let image = client.find(&record.reference.unwrap().to_string(), Some(&record.platform)).unwrap();
        client.remove(&image, true).unwrap();
    }
    client.collect(false).unwrap();
    for area in ["blobs/sha256", "layers/v1", "roots/v1", "images"] {
        assert_eq!(files(&directory.path().join(area)), 0, "{area}");
    }
    let temporary = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with(".tmp");
    assert!(fs::read_dir(directory.path()).unwrap().all(|entry| !temporary(&entry.unwrap().path())));
}
