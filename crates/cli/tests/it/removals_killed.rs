//! `gc` and `rm` that are killed during their work.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::serve;

/// The number of processes that are killed with SIGKILL, each at another moment.
const KILLS: usize = 100;
/// The number of caches that are used at once.
const CACHES: usize = 4;
/// The number of images that are removed.
const REMOVED: u64 = 6;

/// An image that shares its lower layer with all others.
fn small(number: u64) -> Image {
    let own = Layer::new([Entry::file("number", number.to_string())]);
    ImageBuilder::new().layer(&Layer::new([Entry::file("all", "shared")])).layer(&own).build()
}

/// Every other process is `gc --unused`, and the others are `rm` of all removed images.
#[test]
fn gc_and_rm_can_be_killed_at_any_moment() {
    let registry = Registry::start();
    let kept = serve(&registry, &small(0), "kept");
    let removed: Vec<String> = (1..=REMOVED).map(|it| serve(&registry, &small(it), &format!("v{it}"))).collect();
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let program = Program::new();
        program.ok(["pull", "--arch=amd64", &kept]);
        program.ok(["lease", "create", "--id=kept", &kept]);
        let mut whole = [Duration::from_millis(20); 2];
        while let number @ 0..KILLS = next.fetch_add(1, Ordering::Relaxed) {
            removed.iter().for_each(|it| drop(program.ok(["pull", "--arch=amd64", it])));
            let command: Vec<&str> = match number % 2 {
                0 => vec!["gc", "--unused"],
                _ => ["rm"].into_iter().chain(removed.iter().map(String::as_str)).collect(),
            };
            let started = Instant::now();
            let mut child = program.command(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            thread::sleep(whole[number % 2].mul_f64(random()));
            child.kill().unwrap();
            match child.wait().unwrap().success() {
                // The next one is killed earlier.
                true => whole[number % 2] = started.elapsed().mul_f64(0.9),
                false => _ = killed.fetch_add(1, Ordering::Relaxed),
            }
            assert_eq!(program.json(["verify", "--json"])["findings"], json!([]), "{number}");
            assert_eq!(program.ok(["cat", &kept, "number", "--pull=never"]), "0");
            // What is still listed is complete.
            for image in program.json(["images", "--json"]).as_array().unwrap() {
                let reference = image["reference"].as_str().unwrap();
                assert_eq!(program.ok(["cat", reference, "all", "--pull=never"]), "shared");
            }
            program.ok(["gc"]);
            assert_eq!(program.json(["verify", "--json"])["findings"], json!([]), "{number}");
        }
        program.ok(["lease", "release", "kept"]);
        program.ok(["gc", "--unused"]);
        let usage = program.json(["df", "--json"]);
        for area in ["blobs", "unfinished", "layers", "roots", "images"] {
            assert_eq!(usage[area]["files"], 0, "{usage}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..CACHES {
            scope.spawn(work);
        }
    });
    assert!(killed.into_inner() > KILLS / 2, "too few processes were killed before they were done");
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    f64::from(now.subsec_nanos() % 1_000_003) / 1_000_003.0
}
