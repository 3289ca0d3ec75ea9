//! Eight threads that share one client and call its methods at the same time.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vmroot::{Addition, Client, ClientOptions, ErrorKind, Image, PullOptions, PullPolicy, Top};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

const THREADS: u64 = 8;
const DURATION: Duration = Duration::from_secs(10);
/// The number of tags, which move between images during the test.
const TAGS: u64 = 4;
const IMAGES: u64 = 6;

/// Builds an image that shares one layer with all others and one with half of them. A file holds its number.
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

/// Checks that every file of an image has the bytes of the image with its number.
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

/// Puts a file on top, in a temporary directory of the cache, while other threads collect.
fn put_on_top(client: &Client, image: &Image) {
    let added = Addition::File { destination: b"/added".to_vec(), mode: 0o644, bytes: b"added".to_vec() };
    let top = Top { additions: vec![added], ..Top::default() };
    let on_top = client.put_on_top(client.root(image).unwrap(), &top).unwrap();
    for layer in on_top.layers() {
        assert!(layer.index.exists() && layer.contents.exists());
    }
}

/// Returns the next number of a pseudo-random sequence (xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Runs random operations until the time is up. All succeed at any time, except for the lookup of a name.
fn run_random_operations(client: &Client, registry: &Registry, thread: u64, collected: &AtomicUsize) {
    let platform = Some(vmroot::Platform::parse("linux/amd64").unwrap());
    let mut state = thread + 1;
    let started = Instant::now();
    while started.elapsed() < DURATION {
        let name = format!("{}/test/image:v{}", registry.host(), random(&mut state) % TAGS);
        match random(&mut state) % 8 {
            0 | 1 => {
                let policy =
                    if random(&mut state).is_multiple_of(2) { PullPolicy::Always } else { PullPolicy::Missing };
                let options = PullOptions { platform: platform.clone(), policy };
                check(client, &client.pull_with(&name, &options).unwrap());
            }
            2 => drop(collected.fetch_add(client.collect().unwrap().files.len(), Ordering::SeqCst)),
            3 => assert_eq!(client.verify().unwrap().findings, []),
            4 => serve(registry, random(&mut state) % TAGS, random(&mut state) % IMAGES),
            5 => drop(client.images().unwrap()),
            other => match client.find(&name, platform.as_ref()) {
                Ok(image) if other == 6 => {
                    client.remove_name(&image).unwrap();
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

fn count_files(directory: &Path) -> usize {
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
            scope.spawn(move || run_random_operations(client, registry, thread, collected));
        }
    });
    assert_ne!(collected.into_inner(), 0, "no collection has removed a file");

    // All images are complete, and there are no other files.
    registry.clear_requests();
    for record in client.images().unwrap() {
        // An image whose names have all moved to others has its id.
        let name = record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string);
        check(&client, &client.find(&name, Some(&record.platform)).unwrap());
    }
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(client.verify().unwrap().findings, []);
    client.collect().unwrap();
    assert!(client.list_unneeded().unwrap().files.is_empty());
    for record in client.images().unwrap() {
        let name = record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string);
        let image = client.find(&name, Some(&record.platform)).unwrap();
        client.remove_name(&image).unwrap();
    }
    client.collect().unwrap();
    for area in ["blobs/sha256", "layers/v1", "roots/v1", "images"] {
        assert_eq!(count_files(&directory.path().join(area)), 0, "{area}");
    }
    let temporary = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with(".tmp");
    assert!(fs::read_dir(directory.path()).unwrap().all(|entry| !temporary(&entry.unwrap().path())));
}
