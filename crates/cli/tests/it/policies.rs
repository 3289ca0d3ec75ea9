//! `gc` with options that select images, and the budget of a cache.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

use crate::program::Program;
use crate::samples::serve;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An image with a layer of its own, of half a megabyte that cannot be compressed. It takes about twice that in the
/// cache.
fn large(number: u64) -> Image {
    let layer = Layer::new([Entry::file("number", number.to_string()), Entry::file("noise", noise(number, 500_000))]);
    ImageBuilder::new().layer(&layer).build()
}

/// Four images, of which each was used a day later than the one before.
struct Policies {
    program: Program,
    registry: Registry,
    images: Vec<(String, Image)>,
}

impl Policies {
    fn new() -> Self {
        let (program, registry) = (Program::new(), Registry::start());
        let images = (1..=4).map(|number| (serve(&registry, &large(number), &format!("v{number}")), large(number)));
        let images: Vec<_> = images.collect();
        for (reference, _) in &images {
            program.ok(["pull", reference, "--arch=amd64"]);
        }
        let test = Self { program, registry, images };
        for number in 0..4 {
            test.set_last_used(number, DAY * (10 - u32::try_from(number).unwrap()));
        }
        test
    }

    /// Sets the time of the last use of an image, before now.
    fn set_last_used(&self, number: usize, age: Duration) {
        let id = self.images[number].1.config_digest.to_string();
        for entry in fs::read_dir(self.program.cache().join("images")).unwrap() {
            let path = entry.unwrap().path();
            if fs::read_to_string(&path).unwrap().contains(&id) {
                let times = FileTimes::new().set_modified(SystemTime::now() - age);
                File::open(path).unwrap().set_times(times).unwrap();
            }
        }
    }

    fn reference(&self, number: usize) -> &str {
        &self.images[number].0
    }

    /// Runs `gc`, and returns the numbers of the removed images.
    fn collect(&self, arguments: &[&str]) -> Vec<usize> {
        numbers(self, &self.collect_json(arguments)["images"])
    }

    fn collect_json(&self, arguments: &[&str]) -> Value {
        self.program.json(["gc", "--json"].iter().chain(arguments))
    }

    fn size(&self) -> u64 {
        let usage = self.program.json(["df", "--json"]);
        ["blobs", "unfinished", "layers", "roots", "images"]
            .iter()
            .map(|area| usage[area]["diskBytes"].as_u64().unwrap())
            .sum()
    }
}

fn numbers(test: &Policies, images: &Value) -> Vec<usize> {
    let id = |image: &Value| image["id"].as_str().unwrap().to_owned();
    let number = |id: String| test.images.iter().position(|(_, image)| image.config_digest.to_string() == id).unwrap();
    images.as_array().unwrap().iter().map(|image| number(id(image))).collect()
}

#[test]
fn images_that_were_not_used_for_long_are_removed() {
    let test = Policies::new();
    assert_eq!(test.collect(&[]), [] as [usize; 0]);
    assert_eq!(test.collect(&["-n", "--older-than=8d12h"]), [0, 1]);
    // A use counts from now on.
    test.program.ok(["cat", test.reference(0), "number"]);
    assert_eq!(test.collect(&["-n", "--older-than=8d12h"]), [1]);
    assert_eq!(test.collect(&["--older-than=8d12h"]), [1]);
    assert_eq!(test.program.json(["images", "--json"]).as_array().unwrap().len(), 3);
    test.program.fails(3, ["cat", test.reference(1), "number", "--pull=never"]);
    assert_eq!(test.collect(&["--unused", "--older-than=7d12h"]), [2]);
    assert_eq!(test.collect(&["--dangling"]), [] as [usize; 0]);
    assert_eq!(test.collect(&["--unused"]), [3, 0]);
    assert_eq!(test.program.json(["df", "--json"])["layers"]["files"], 0);
}

#[test]
fn the_least_recently_used_images_go_first() {
    let test = Policies::new();
    test.program.ok(["lease", "create", "--id=kept", test.reference(1)]);
    let whole = test.size();
    // Two images fit.
    let limit = (whole * 3 / 5).to_string();
    let would = test.collect_json(&["-n", "--max-size", &limit]);
    assert_eq!(numbers(&test, &would["images"]), [0, 2], "{would}");
    assert_eq!(would["images"][0]["reason"], "size");
    assert_eq!(test.size(), whole, "a dry run removes nothing");
    assert_eq!(test.collect(&["--max-size", &limit]), [0, 2]);
    assert_eq!(Some(test.size()), would["size"].as_u64());
    // What is in use stays, and is named.
    let answer = test.program.run(["gc", "--max-size=1K"]);
    assert!(answer.stderr.contains("the cache takes"), "{answer}");
    let text = answer.ok();
    assert!(text.contains("kept, in use by the lease kept"), "{text}");
    assert_eq!(test.program.ok(["cat", test.reference(1), "number"]), "2");
    assert_eq!(test.program.json(["verify", "--json"])["findings"], json!([]));
}

#[test]
fn kept_blobs_save_a_download() {
    let test = Policies::new();
    test.program.ok(["gc", "--unused", "--keep-blobs"]);
    let usage = test.program.json(["df", "--json"]);
    assert_eq!((&usage["images"]["files"], &usage["layers"]["files"]), (&json!(0), &json!(0)), "{usage}");
    assert_eq!(usage["blobs"]["files"], 12);
    test.registry.clear_requests();
    test.program.ok(["pull", test.reference(0), "--arch=amd64"]);
    assert_eq!(test.registry.count("/blobs/"), 0);
    test.program.ok(["gc"]);
    assert_eq!(test.program.json(["df", "--json"])["blobs"]["files"], 3);
}

#[test]
fn a_pull_keeps_the_budget() {
    let test = Policies::new();
    let fifth = serve(&test.registry, &large(5), "v5");
    let whole = test.size().to_string();
    let pulled = test.program.run(["pull", &fifth, "--arch=amd64", "--max-cache-size", &whole, "-v"]);
    assert!(pulled.status.success() && pulled.stderr.contains(":v1 from the cache"), "{pulled}");
    assert!(test.size() <= whole.parse().unwrap());
    assert_eq!(test.program.ok(["cat", &fifth, "number"]), "5");
    test.program.fails(3, ["cat", test.reference(0), "number", "--pull=never"]);
    assert_eq!(test.program.ok(["cat", test.reference(3), "number", "--pull=never"]), "4");

    // An image that does not fit.
    let mut pull = test.program.command(["pull", test.reference(0), "--arch=amd64"]);
    pull.env("VMROOT_MAX_CACHE_SIZE", "300K");
    let message = crate::program::CommandOutput::from(pull.output().unwrap()).fails(6);
    assert!(message.contains("may take 307200") && message.contains("--max-cache-size"), "{message}");

    // An image that fits only without one in use.
    test.program.ok(["pull", test.reference(1), "--arch=amd64"]);
    test.program.ok(["lease", "create", "--id=first", test.reference(1)]);
    let message = test.program.fails(6, ["pull", test.reference(0), "--arch=amd64", "--max-cache-size=1500K"]);
    assert!(message.contains("the lease first") && message.contains("v2"), "{message}");
    // Images are removed only if that is enough.
    for number in 1..4 {
        test.program.ok(["cat", test.reference(number), "number", "--pull=never"]);
    }
    assert_eq!(test.program.json(["verify", "--json"])["findings"], json!([]));
}
