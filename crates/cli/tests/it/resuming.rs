//! Pulls that reuse the blobs in the cache, and resume interrupted downloads.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use vmroot_model::Digest;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::registry::{Auth, Bearer, Fault, Registry, Rule};

use crate::program::{Program, wait_for, wait_until};
use crate::samples::{base, image, noisy, serve, top};

fn partial(program: &Program, digest: &Digest) -> PathBuf {
    program.cache().join(format!("blobs/sha256/{}.partial", digest.hex()))
}

#[test]
fn cached_layers_are_not_fetched() {
    let registry = Registry::start();
    let program = Program::new();
    program.ok(["pull", &serve(&registry, &image("amd64"), "v1"), "--arch=amd64"]);
    let next = ImageBuilder::new().layers([&base(), &top("new"), &top("newer")]).build();
    registry.clear_requests();
    program.ok(["pull", &serve(&registry, &next, "v2"), "--arch=amd64"]);
    let count = |digest: &Digest| registry.count(&digest.to_string());
    let fetched: Vec<_> = next.layers.iter().map(|layer| count(&layer.digest)).collect();
    assert_eq!(fetched, [0, 1, 1]);
    assert_eq!(registry.count("/blobs/"), 3, "two layers and a config");
}

/// A layer is built only once. An image gets its own blobs nevertheless, so that it can be saved with its digests.
#[test]
fn layer_with_a_cached_index_is_not_built_again() {
    let registry = Registry::start();
    let program = Program::new();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    program.ok(["pull", &reference, "--arch=amd64"]);
    let inodes = || -> Vec<u64> {
        let layers = fs::read_dir(program.cache().join("layers/v1")).unwrap();
        let mut inodes: Vec<u64> = layers.map(|entry| entry.unwrap().metadata().unwrap().ino()).collect();
        inodes.sort_unstable();
        inodes
    };
    let built = inodes();
    for layer in &image.layers {
        fs::remove_file(program.cache().join("blobs/sha256").join(layer.digest.hex())).unwrap();
    }
    registry.clear_requests();
    program.ok(["rm", &reference]);
    program.ok(["pull", &reference, "--arch=amd64"]);
    assert_eq!(registry.count("/blobs/"), 2, "two layers");
    // The same layer in another compression.
    let zstd = ImageBuilder::new().compression(vmroot_testkit::image::Compression::Zstd);
    let other = zstd.layers([&base(), &top("amd64")]).build();
    assert_eq!(other.layers[0].diff_id, image.layers[0].diff_id);
    let other = serve(&registry, &other, "v2");
    registry.clear_requests();
    program.ok(["pull", &other, "--arch=amd64"]);
    assert_eq!(registry.count("/blobs/"), 3, "two layers and a config");
    assert_eq!(inodes(), built);
    assert_eq!(program.findings(), json!([]));
    program.ok(["save", &other, "-o", program.path("other.tar").to_str().unwrap()]);
}

#[test]
fn interrupted_pull_is_resumed() {
    for signal in [Signal::INT, Signal::TERM] {
        let registry = Registry::start();
        let image = noisy(1, 3 << 20);
        let layer = image.layers[0].digest;
        let reference = serve(&registry, &image, "v1");
        // The config is sent completely.
        let stall = Fault::StallAfter(5 << 19, Duration::from_secs(60));
        registry.misbehave(Rule::on(&layer.to_string()).times(1).fault(stall));
        let program = Program::new();
        let mut pull = program.start(["pull", &reference, "--arch=amd64"]);
        let length = || partial(&program, &layer).metadata().map_or(0, |metadata| metadata.len());
        wait_until("some of the layer", || length() >= 2 << 20);
        kill_process(Pid::from_child(&pull), signal).unwrap();
        assert_eq!(wait_for(&mut pull).code(), Some(130), "{signal:?}");
        let kept = length();
        assert!(kept >= 2 << 20, "{signal:?}: {kept}");
        assert_eq!(program.findings(), json!([]));

        registry.clear_requests();
        program.ok(["pull", &reference, "--arch=amd64"]);
        let requests = registry.requests();
        let request = requests.iter().find(|request| request.path.contains(&layer.to_string())).unwrap();
        assert_eq!(request.header("range"), Some(format!("bytes={kept}-").as_str()));
        assert_eq!(program.findings(), json!([]));
    }
}

/// Downloaded bytes are buffered in memory, to be written in large pieces.
#[test]
fn interrupted_pull_keeps_buffered_bytes() {
    let registry = Registry::start();
    let image = noisy(1, 200_000);
    let layer = image.layers[0].digest;
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on(&layer.to_string()).times(1).fault(Fault::Slow(20_000, Duration::from_millis(150))));
    let program = Program::new();
    let mut pull = program.start(["pull", &reference, "--arch=amd64"]);
    wait_until("a request for the layer", || registry.count(&layer.to_string()) > 0);
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&pull), Signal::INT).unwrap();
    assert_eq!(wait_for(&mut pull).code(), Some(130));
    let kept = partial(&program, &layer).metadata().unwrap().len();
    assert!(kept >= 20_000, "{kept}");
}

/// A partial blob may hold any bytes.
#[test]
fn damaged_partial_blob_is_fetched_again() {
    let image = noisy(1, 100_000);
    let layer = &image.layers[0];
    let flipped = [&layer.bytes[..50_000], &[!layer.bytes[50_000]], &layer.bytes[50_001..70_000]].concat();
    let longer = [&layer.bytes[..], b"more"].concat();
    let zeros = vec![0; layer.bytes.len()];
    for (what, kept, requests) in [
        ("right", &layer.bytes[..60_000], 1),
        ("whole", &layer.bytes[..], 0),
        ("longer", &longer, 0),
        ("empty", &[], 1),
        ("flipped", &flipped, 2),
        ("zeros", &zeros, 1),
    ] {
        let registry = Registry::start();
        let reference = serve(&registry, &image, "v1");
        let program = Program::new();
        let partial = partial(&program, &layer.digest);
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(partial, kept).unwrap();
        program.ok(["pull", &reference, "--arch=amd64"]);
        assert_eq!(registry.count(&layer.digest.to_string()), requests, "{what}");
        assert_eq!(program.findings(), json!([]), "{what}");
    }
}

#[test]
fn registry_without_ranges_sends_the_whole_blob_again() {
    let registry = Registry::start();
    let image = noisy(1, 300_000);
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on(&image.layers[0].digest.to_string()).fault(Fault::IgnoreRange));
    registry.misbehave(Rule::on(&image.layers[0].digest.to_string()).times(1).fault(Fault::CutAfter(100_000)));
    let program = Program::new();
    fs::create_dir_all(program.cache().join("blobs/sha256")).unwrap();
    fs::write(partial(&program, &image.layers[0].digest), &image.layers[0].bytes[..50_000]).unwrap();
    program.ok(["pull", &reference, "--arch=amd64"]);
    assert_eq!(registry.count(&image.layers[0].digest.to_string()), 2);
    assert_eq!(program.findings(), json!([]));
}

/// Faults of a few answers, which do not fail a pull.
#[test]
fn temporary_faults_are_retried() {
    let image = noisy(2, 200_000);
    let layer = image.layers[0].digest.to_string();
    let on = |part: &str, times: usize, fault: Fault| Rule::on(part).times(times).fault(fault);
    let soon = vec![("Retry-After", "0".to_owned())];
    let stumbles: [(&str, Rule); 10] = [
        ("cut", on(&layer, 3, Fault::CutAfter(30_000))),
        ("cut at once", on("/blobs/", 2, Fault::Close)),
        ("stalled", on(&layer, 1, Fault::StallAfter(50_000, Duration::from_secs(30)))),
        ("truncated", on(&layer, 1, Fault::NoContentLength).fault(Fault::Truncate(70_000))),
        ("too many requests", on("", 2, Fault::Status(429, soon.clone(), String::new()))),
        ("unavailable", on("/manifests/", 2, Fault::Status(503, soon, String::new()))),
        ("internal error", on(&layer, 1, Fault::Status(500, vec![], "oops".into()))),
        ("timeout", on(&layer, 1, Fault::Status(408, vec![], String::new()))),
        ("no length", on("/blobs/", 9, Fault::Chunked)),
        ("slow", on("/blobs/", 9, Fault::Slow(20_000, Duration::from_millis(5)))),
    ];
    for (what, rule) in stumbles {
        let registry = Registry::start();
        let reference = serve(&registry, &image, "v1");
        registry.misbehave(rule);
        let program = Program::new();
        let printed = program.run(["pull", &reference, "--arch=amd64", "--inactivity-timeout=0.3"]);
        assert_eq!(printed.ok().trim(), image.config_digest.to_string(), "{what}");
        assert_eq!(program.findings(), json!([]), "{what}");
    }
}

#[test]
fn expired_tokens_are_renewed() {
    let registry = Registry::start();
    let image = noisy(4, 50_000);
    let reference = serve(&registry, &image, "v1");
    registry.require(Auth::Bearer(Bearer { uses: Some(1), ..Bearer::default() }));
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64", "--parallel=1"]);
    assert!(registry.count("/token") >= 5, "{}", registry.count("/token"));
}

#[test]
fn redirects_of_blobs_get_no_credentials() {
    let (registry, storage) = (Registry::start(), Registry::start());
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    serve(&storage, &image, "v1");
    registry.require(Auth::basic("user", "secret"));
    registry.misbehave(Rule::on("/blobs/").fault(Fault::RedirectTo(storage.url())));
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64", "--creds=user:secret"]);
    assert_eq!(storage.count("/blobs/"), 3);
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None);
    }
}

/// A registry that limits each connection to about 50 MB/s, and a layer that is large enough for several.
#[test]
fn large_layer_is_fetched_over_several_connections() {
    let registry = Registry::start();
    let image = noisy(1, 80 << 20);
    let reference = serve(&registry, &image, "v1");
    registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(256 << 10, Duration::from_millis(5))));
    let layer = image.layers[0].digest.to_string();
    for (parallel, parts) in [("--parallel=4", true), ("--parallel=1", false)] {
        registry.clear_requests();
        let program = Program::new();
        program.ok(["pull", &reference, "--arch=amd64", parallel]);
        let ranges = registry.requests().into_iter().filter(|request| request.path.contains(&layer));
        let ranges = ranges.filter(|request| request.header("range").is_some()).count();
        assert_eq!(ranges > 5, parts, "{parallel}: {ranges}");
        assert_eq!(program.findings(), json!([]));
    }
}
