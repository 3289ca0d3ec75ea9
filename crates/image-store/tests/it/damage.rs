//! Tests of `verify` on a damaged cache: each finding, and the repair that it reports.

use std::fs;
use std::path::{Path, PathBuf};

use vmroot_image_store::{Finding, PullPolicy};
use vmroot_layer_index::format::Header;
use vmroot_model::Reference;
use vmroot_testkit::image::Image;

use crate::fixture::{Fixture, damage, image, name_in, replace, request};

/// A cache with one image, and with the files of another image whose last name was removed.
struct DamagedCache {
    fixture: Fixture,
    reference: Reference,
    needed: Image,
    unneeded: Image,
}

impl DamagedCache {
    fn new() -> Self {
        let fixture = Fixture::new();
        let (needed, unneeded) = (image("needed"), image("unneeded"));
        let reference = fixture.serve(&needed, "v1");
        let other = fixture.serve(&unneeded, "v2");
        fixture.pull(&reference).unwrap();
        let removed = fixture.pull(&other).unwrap();
        fixture.store.remove_name(&removed).unwrap();
        fixture.registry.clear_requests();
        Self { fixture, reference, needed, unneeded }
    }

    fn root(&self, image: &Image) -> PathBuf {
        let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let chain = vmroot_model::chain_ids(&diff_ids).pop().unwrap();
        self.fixture.cache().join(format!("roots/v1/{}.idx", chain.hex()))
    }

    /// Returns the path, remedy and `repaired` flag of each finding, and checks that a second verification finds nothing.
    fn found(&self) -> Vec<(PathBuf, String, bool)> {
        let findings = self.fixture.verify();
        let again: Vec<Finding> = self.fixture.verify().into_iter().filter(|finding| finding.repaired).collect();
        assert_eq!(again, [], "the reported repairs were made");
        findings.into_iter().map(|finding| (finding.path, finding.remedy, finding.repaired)).collect()
    }

    /// Checks that the image can be used without its registry.
    fn works(&self) {
        let never = request(&self.reference, PullPolicy::Never);
        assert_eq!(name_in(&self.fixture.store, &self.fixture.pull_as(&never).unwrap()), "needed");
        assert_eq!(self.fixture.registry.requests().len(), 0);
    }
}

fn found(path: &Path, remedy: &str, repaired: bool) -> Vec<(PathBuf, String, bool)> {
    vec![(path.to_owned(), remedy.to_owned(), repaired)]
}

#[test]
fn an_undamaged_cache_has_no_findings() {
    let cache = DamagedCache::new();
    assert_eq!(cache.found(), []);
    cache.works();
}

#[test]
fn a_root_is_merged_again_only_for_an_image() {
    let cache = DamagedCache::new();
    let root = cache.root(&cache.needed);
    damage(&root);
    assert_eq!(cache.found(), found(&root, "merged again from its layers", true));
    assert!(root.exists());
    fs::remove_file(&root).unwrap();
    assert_eq!(cache.found(), found(&root, "merged again from its layers", true));
    assert!(root.exists());
    cache.works();

    let root = cache.root(&cache.unneeded);
    damage(&root);
    assert_eq!(cache.found(), found(&root, "removed; no image needs it", true));
    assert!(!root.exists());
}

/// A valid index in the place of another one counts as damaged.
#[test]
fn a_root_of_other_layers_is_merged_again() {
    let cache = DamagedCache::new();
    let root = cache.root(&cache.needed);
    replace(&root, fs::read(cache.root(&cache.unneeded)).unwrap());
    assert_eq!(cache.found(), found(&root, "merged again from its layers", true));
    cache.works();
}

/// An index of an older minor version may describe the same layers differently.
#[test]
fn an_index_of_an_older_version_is_rebuilt_on_use() {
    let damaged = DamagedCache::new();
    let layer = damaged.fixture.layer(&damaged.needed.layers[0].diff_id, "idx");
    for path in [&layer, &damaged.root(&damaged.needed)] {
        let new = fs::read(path).unwrap();
        replace(path, older(new.clone()));
        assert_eq!(damaged.found(), [], "it is not damaged");
        damaged.works();
        // The layers' indexes are opened only to merge a root.
        if *path == layer {
            fs::remove_file(damaged.root(&damaged.needed)).unwrap();
            damaged.works();
        }
        assert_eq!(fs::read(path).unwrap(), new);
    }
}

/// Returns the same index as version 1.0 would have written it.
fn older(mut index: Vec<u8>) -> Vec<u8> {
    let minor = std::mem::offset_of!(Header, minor);
    index[minor..minor + 2].fill(0);
    let checksum = std::mem::offset_of!(Header, checksum);
    index[checksum..checksum + 4].fill(0);
    let sum = crc32fast::hash(&index);
    index[checksum..checksum + 4].copy_from_slice(&sum.to_le_bytes());
    index
}

#[test]
fn a_layer_is_made_again_only_for_an_image() {
    for extension in ["idx", "contents"] {
        let cache = DamagedCache::new();
        let index = |image: &Image| cache.fixture.layer(&image.layers[1].diff_id, "idx");
        damage(&cache.fixture.layer(&cache.needed.layers[1].diff_id, extension));
        assert_eq!(cache.found(), found(&index(&cache.needed), "rebuilt from its blob", true), "{extension}");
        cache.works();

        damage(&cache.fixture.layer(&cache.unneeded.layers[1].diff_id, extension));
        assert_eq!(cache.found(), found(&index(&cache.unneeded), "removed; no image needs it", true), "{extension}");
        assert!(!index(&cache.unneeded).exists() && !index(&cache.unneeded).with_extension("contents").exists());
    }
}

#[test]
fn a_file_without_a_layer_name_is_removed() {
    let cache = DamagedCache::new();
    let stray = cache.fixture.cache().join("layers/v1/stray.idx");
    fs::write(&stray, "x").unwrap();
    assert_eq!(cache.found(), found(&stray, "removed; no image needs it", true));
    assert!(!stray.exists());
}

#[test]
fn a_blob_is_removed_and_fetched_again_only_for_an_image() {
    let cache = DamagedCache::new();
    let blobs = |image: &Image| [image.layers[1].digest, image.manifest.digest];
    for digest in blobs(&cache.needed) {
        let path = cache.fixture.blob(&digest);
        damage(&path);
        assert_eq!(cache.found(), found(&path, "removed; fetched again when it is needed", true));
        assert!(!path.exists());
        cache.works();
    }
    for digest in blobs(&cache.unneeded).into_iter().chain([cache.unneeded.config_digest]) {
        let path = cache.fixture.blob(&digest);
        damage(&path);
        assert_eq!(cache.found(), found(&path, "removed; no image needs it", true));
        assert!(!path.exists());
    }
}

/// Only the config describes the image.
#[test]
fn a_config_cannot_be_repaired() {
    let cache = DamagedCache::new();
    let path = cache.fixture.blob(&cache.needed.config_digest);
    damage(&path);
    assert_eq!(cache.found(), found(&path, "removed; it is the config of an image: pull the image again", false));
    assert_eq!(cache.found(), found(&path, "it is the config of an image: pull the image again", false));
    cache.fixture.pull(&cache.reference).unwrap();
    assert_eq!(cache.found(), []);
}

/// The root has no finding of its own that needs a pull: it is merged again once its layer is back.
#[test]
fn a_layer_without_its_blob_cannot_be_repaired() {
    let cache = DamagedCache::new();
    let layer = &cache.needed.layers[1];
    let (index, blob) = (cache.fixture.layer(&layer.diff_id, "idx"), cache.fixture.blob(&layer.digest));
    let root = cache.root(&cache.needed);
    for path in [&index, &blob, &root] {
        damage(path);
    }
    let mut expected = [
        found(&blob, "removed; fetched again when it is needed", true),
        found(&index, "its source is not in the cache: pull the image again", false),
        found(&root, "removed; merged again when its layers are here", true),
    ]
    .concat();
    expected.sort();
    assert_eq!(cache.found(), expected);
    assert!([&index, &blob, &root].iter().all(|path| !path.exists()));
    cache.fixture.pull(&cache.reference).unwrap();
    assert_eq!(cache.fixture.registry.count("/blobs/"), 1, "all other files are valid");
    assert_eq!(cache.found(), []);
}

/// The blob is valid, but the store's limits are lower than before. That is a finding, and the verification continues.
#[test]
fn a_layer_beyond_the_limits_is_a_finding() {
    let cache = DamagedCache::new();
    let mut options = vmroot_image_store::StoreOptions::new(cache.fixture.cache());
    options.build.max_entries = 1;
    let strict = vmroot_image_store::Store::open(options).unwrap();
    let index = cache.fixture.layer(&cache.needed.layers[1].diff_id, "idx");
    damage(&index);
    let progress = std::sync::Arc::new(vmroot_image_store::NoProgress) as _;
    let found = strict.verify(&progress).unwrap();
    assert_eq!(found.roots, 2);
    assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
    let finding = &found.findings[0];
    assert_eq!((&finding.path, finding.repaired), (&index, false));
    assert!(finding.remedy.starts_with("cannot be rebuilt: ") && finding.remedy.contains("max_entries"), "{finding:?}");
    cache.works();
}

#[test]
fn a_record_is_written_again_from_its_copy_or_reported() {
    let cache = DamagedCache::new();
    let record = |extension: &str| {
        let files = cache.fixture.files();
        let found = files.iter().find(|path| path.starts_with("images") && path.extension().unwrap() == extension);
        cache.fixture.cache().join(found.unwrap())
    };
    let (json, copy) = (record("json"), record("copy"));
    for path in [&json, &copy] {
        let whole = fs::read(path).unwrap();
        damage(path);
        assert_eq!(cache.found(), found(path, "written again from its other copy", true));
        assert_eq!(fs::read(path).unwrap(), whole);
        // A process that is killed between the two writes leaves one copy. That is not damage.
        fs::remove_file(path).unwrap();
        assert_eq!(cache.found(), []);
        assert_eq!(fs::read(path).unwrap(), whole);
    }
    damage(&json);
    damage(&copy);
    let remedy = "neither copy can be read: pull the image again, or remove the file";
    assert_eq!(cache.found(), found(&json, remedy, false));
    cache.fixture.pull(&cache.reference).unwrap();
    assert_eq!(cache.found(), []);
}
