//! `df`: the space of images, layers and roots, compared with what `rm` and `gc` free.

use serde_json::{Value, json};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

use crate::program::Program;
use crate::samples::serve;

const AREAS: [&str; 6] = ["blobs", "unfinished", "layers", "roots", "images", "quarantine"];

fn layer(number: u64) -> Layer {
    let size = 10_000 + 7_000 * usize::try_from(number).unwrap();
    Layer::new([Entry::file(format!("file-{number}"), noise(number, size))])
}

fn stack(numbers: &[u64]) -> Image {
    ImageBuilder::new().layers(&numbers.iter().map(|&number| layer(number)).collect::<Vec<_>>()).build()
}

/// Returns the sum of a quantity over the areas of a usage.
fn sum(usage: &Value, quantity: &str) -> u64 {
    AREAS.iter().map(|area| usage[area][quantity].as_u64().unwrap()).sum()
}

fn by_reference<'v>(space: &'v Value, reference: &str) -> &'v Value {
    let images = space["images"].as_array().unwrap();
    images.iter().find(|image| image["references"].as_array().unwrap().contains(&json!(reference))).unwrap()
}

/// The unique space of an image is what `rm` and `gc` free, in each area.
#[test]
fn unique_space_is_what_removal_frees() {
    let registry = Registry::start();
    // Shared bases, a stack that is a prefix of another, an image of its own, and one with two names.
    let stacks: [&[u64]; 5] = [&[1, 2], &[1, 2, 3], &[1, 4], &[5], &[1, 4, 6]];
    let program = Program::new();
    let mut names: Vec<String> = Vec::new();
    for (number, numbers) in stacks.iter().enumerate() {
        names.push(serve(&registry, &stack(numbers), &format!("v{number}")));
    }
    let second = serve(&registry, &stack(stacks[2]), "second");
    program.ok(["pull", "--arch=amd64", &second].into_iter().chain(names.iter().map(String::as_str)));

    while let Some(name) = names.pop() {
        let before = program.json(["df", "--json"]);
        let all = program.json(["df", "--images", "--json"]);
        assert_eq!(all["space"], program.json(["df", "-v", "--json"])["space"]);
        // The parts are the areas.
        for area in AREAS {
            for quantity in ["files", "bytes", "diskBytes"] {
                let unique: u64 = all["space"]["images"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|image| image["uniqueAreas"][area][quantity].as_u64().unwrap())
                    .sum();
                let others = ["shared", "unneeded"].map(|part| all[part][area][quantity].as_u64().unwrap());
                assert_eq!(unique + others[0] + others[1], before[area][quantity].as_u64().unwrap(), "{area}: {all}");
            }
        }
        let image = by_reference(&all["space"], &name).clone();
        let one = program.json(["df", &name, "--json"]);
        assert_eq!(by_reference(&one, &name), &image);
        assert_eq!(one["unique"], image["uniqueAreas"]);
        for quantity in ["files", "bytes", "diskBytes"] {
            let [size, shared, unique] =
                ["size", "shared", "unique"].map(|part| image[part][quantity].as_u64().unwrap());
            assert_eq!(size, shared + unique, "{image}");
            assert_eq!(unique, sum(&image["uniqueAreas"], quantity));
        }
        let id = image["id"].as_str().unwrap().to_owned();
        for layer in one["layers"].as_array().unwrap() {
            assert!(layer["images"].as_array().unwrap().contains(&json!(id)), "{layer}");
        }

        program.ok(["rm", &id]);
        let collected = program.json(["gc", "--json"]);
        let after = program.json(["df", "--json"]);
        for area in AREAS {
            for quantity in ["files", "bytes", "diskBytes"] {
                let [was, is] = [&before, &after].map(|usage| usage[area][quantity].as_u64().unwrap());
                assert_eq!(was - is, image["uniqueAreas"][area][quantity].as_u64().unwrap(), "{name}, {area}: {image}");
            }
        }
        // `gc` does not count the record, which `rm` has removed.
        let records = image["uniqueAreas"]["images"]["diskBytes"].as_u64().unwrap();
        assert_eq!(collected["bytes"].as_u64().unwrap(), image["unique"]["diskBytes"].as_u64().unwrap() - records);
    }
    let empty = program.json(["df", "-v", "--json"]);
    assert_eq!((&empty["space"]["images"], sum(&empty["shared"], "files")), (&json!([]), 0));
}

/// Images that share everything free nothing one by one, and all of it together.
#[test]
fn images_are_counted_together() {
    let registry = Registry::start();
    let program = Program::new();
    let twins = ["first", "second"].map(|value| {
        let image = ImageBuilder::new().layer(&layer(9)).setting("Labels", json!({"twin": value})).build();
        serve(&registry, &image, value)
    });
    program.ok(["pull", "--arch=amd64", &twins[0], &twins[1]]);
    let layers = |value: &Value| value["layers"]["files"].as_u64().unwrap();
    let one = program.json(["df", &twins[0], "--json"]);
    assert_eq!((layers(&one["unique"]), layers(&one["images"][0]["uniqueAreas"])), (0, 0));
    assert_eq!(one["layers"][0]["images"].as_array().unwrap().len(), 2);
    let both = program.json(["df", &twins[0], &twins[1], "--json"]);
    assert_eq!(layers(&both["unique"]), 2, "{both}");
    assert_eq!(sum(&both["unique"], "files"), sum(&program.json(["df", "--json"]), "files"));

    let text = program.ok(["df", "-v"]);
    for part in [
        "Images space usage:",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "Layers space usage:",
        "Roots space usage:",
        "test/image",
        "first",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(program.ok(["df", &twins[0]]).contains("removing the image and `vmroot gc` free"));
    program.fails(3, ["df", "no-such-image"]);
    program.fails(2, ["df", "--images", &twins[0]]);
}
