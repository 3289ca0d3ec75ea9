//! Tests of `verify` and `repair` on a damaged cache: each finding, and the repair that it reports.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use vmroot_image_store::FindingState::{Quarantined, Repaired};
use vmroot_image_store::{Finding, FindingState, NoOrigins, PullPolicy};
use vmroot_layer_index::format::Header;
use vmroot_model::Reference;
use vmroot_testkit::image::{Compression, Image, ImageBuilder};
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{Fixture, damage, image, name_in, no_progress, replace, request, with_layers};

const MERGED: &str = "merged again from its layers";
const UNNEEDED: &str = "moved to the quarantine; no image needs it";

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

    /// Returns the path, state and action of each finding of a repair. Checks that a verification before it finds the same
    /// files and changes none, and that one after it finds only those that were lost.
    fn repaired(&self) -> Vec<(PathBuf, FindingState, String)> {
        let before = self.fixture.files();
        let found = self.fixture.verify();
        assert_eq!(self.fixture.files(), before, "a verification changes nothing");
        assert!(found.iter().all(|finding| finding.state == FindingState::Damaged), "{found:?}");
        let findings = self.fixture.repair();
        let paths = |findings: &[Finding]| findings.iter().map(|finding| finding.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&findings), paths(&found));
        let left: Vec<Finding> = findings.iter().filter(|finding| !finding.is_settled()).cloned().collect();
        assert!(left.len() >= self.fixture.verify().len(), "the reported repairs were made");
        assert!(findings.iter().all(|finding| finding.quarantined.as_ref().is_none_or(|path| path.exists())));
        findings.into_iter().map(|finding| (finding.path, finding.state, finding.action)).collect()
    }

    /// Checks that the quarantine has the files from these places, and empties it.
    fn quarantine_has(&self, origins: &[&Path]) {
        let relative = |path: &&Path| path.strip_prefix(self.fixture.cache()).unwrap().to_str().unwrap().to_owned();
        let mut expected: Vec<String> = origins.iter().map(relative).collect();
        let files = self.fixture.store.quarantined().unwrap();
        let mut found: Vec<String> = files.iter().map(|file| file.origin.clone().unwrap()).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert!(files.iter().all(|file| !file.problem.is_empty()));
        assert_eq!(self.fixture.store.empty_quarantine().unwrap(), files);
        assert_eq!(fs::read_dir(self.fixture.cache().join("quarantine")).unwrap().count(), 0);
    }

    /// Checks that the image can be used without its registry.
    fn works(&self) {
        let never = request(&self.reference, PullPolicy::Never);
        assert_eq!(name_in(&self.fixture.store, &self.fixture.pull_as(&never).unwrap()), "needed");
        assert_eq!(self.fixture.registry.requests().len(), 0);
    }
}

fn found(path: &Path, state: FindingState, action: &str) -> Vec<(PathBuf, FindingState, String)> {
    vec![(path.to_owned(), state, action.to_owned())]
}

#[test]
fn an_undamaged_cache_has_no_findings() {
    let cache = DamagedCache::new();
    assert_eq!(cache.repaired(), []);
    cache.works();
    cache.quarantine_has(&[]);
}

#[test]
fn a_root_is_merged_again_only_for_an_image() {
    let cache = DamagedCache::new();
    let root = cache.root(&cache.needed);
    damage(&root);
    assert_eq!(cache.repaired(), found(&root, Repaired, MERGED));
    assert!(root.exists());
    fs::remove_file(&root).unwrap();
    assert_eq!(cache.repaired(), found(&root, Repaired, MERGED));
    assert!(root.exists());
    cache.works();
    cache.quarantine_has(&[]);

    let root = cache.root(&cache.unneeded);
    damage(&root);
    assert_eq!(cache.repaired(), found(&root, Quarantined, UNNEEDED));
    assert!(!root.exists());
    cache.quarantine_has(&[&root]);
}

/// A valid index in the place of another one counts as damaged.
#[test]
fn a_root_of_other_layers_is_merged_again() {
    let cache = DamagedCache::new();
    let root = cache.root(&cache.needed);
    replace(&root, fs::read(cache.root(&cache.unneeded)).unwrap());
    assert_eq!(cache.repaired(), found(&root, Repaired, MERGED));
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
        assert_eq!(damaged.repaired(), [], "it is not damaged");
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
        let file = |image: &Image| cache.fixture.layer(&image.layers[1].diff_id, extension);
        let path = file(&cache.needed);
        damage(&path);
        assert_eq!(cache.repaired(), found(&path, Repaired, "rebuilt from its blob"), "{extension}");
        cache.works();
        fs::remove_file(&path).unwrap();
        assert_eq!(cache.repaired(), found(&path, Repaired, "rebuilt from its blob"), "{extension}");
        cache.works();

        let path = file(&cache.unneeded);
        damage(&path);
        assert_eq!(cache.repaired(), found(&path, Quarantined, UNNEEDED), "{extension}");
        assert!(!path.exists());
        cache.quarantine_has(&[&path]);
    }
}

#[test]
fn a_file_that_does_not_belong_to_the_cache_is_set_aside() {
    let cache = DamagedCache::new();
    for place in
        ["layers/v1/stray.idx", "blobs/sha256/README", "blobs/sha512/0", "roots/v1/x", "images/notes", "locks/x"]
    {
        let stray = cache.fixture.cache().join(place);
        fs::write(&stray, "x").unwrap();
        let action = "moved to the quarantine; the cache does not need it";
        assert_eq!(cache.repaired(), found(&stray, Quarantined, action));
        assert!(!stray.exists());
        cache.quarantine_has(&[&stray]);
    }
    // Files of later versions.
    let hex = cache.needed.layers[0].diff_id.hex();
    fs::write(cache.fixture.cache().join(format!("layers/v1/{hex}.hashes")), "x").unwrap();
    fs::create_dir(cache.fixture.cache().join("later")).unwrap();
    assert_eq!(cache.repaired(), []);
}

#[test]
fn a_blob_is_fetched_again_only_for_an_image() {
    let cache = DamagedCache::new();
    let blobs = |image: &Image| [image.layers[1].digest, image.manifest.digest, image.config_digest];
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("flipped", damage),
        ("truncated", |path| replace(path, &fs::read(path).unwrap()[..10])),
        ("longer", |path| replace(path, [&fs::read(path).unwrap()[..], b"x"].concat())),
        ("empty", |path| replace(path, "")),
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (what, change) in changes {
        for digest in blobs(&cache.needed) {
            let path = cache.fixture.blob(&digest);
            let whole = fs::read(&path).unwrap();
            change(&path);
            let action = format!("fetched again from {}", cache.reference);
            let repaired = cache.repaired();
            assert_eq!(repaired.len(), 1, "{what}: {repaired:?}");
            assert_eq!((&repaired[0].0, repaired[0].1), (&path, Repaired), "{what}: {repaired:?}");
            assert!(repaired[0].2.starts_with("fetched again from "), "{what}: {repaired:?}, not {action}");
            assert_eq!(fs::read(&path).unwrap(), whole, "{what}");
            cache.fixture.registry.clear_requests();
            cache.works();
            cache.quarantine_has(&[]);
        }
    }
    for digest in blobs(&cache.unneeded) {
        let path = cache.fixture.blob(&digest);
        damage(&path);
        assert_eq!(cache.repaired(), found(&path, Quarantined, UNNEEDED));
        assert!(!path.exists());
        cache.quarantine_has(&[&path]);
        assert_eq!(cache.fixture.registry.requests().len(), 0, "no image needs it");
    }
}

/// Without its source, a layer's blob is lost, but not the layer.
#[test]
fn a_blob_that_is_gone_is_lost() {
    let cache = DamagedCache::new();
    let (layer, config) = (&cache.needed.layers[1], cache.needed.config_digest);
    for digest in [layer.digest, config] {
        let path = cache.fixture.blob(&digest);
        let whole = fs::read(&path).unwrap();
        cache.fixture.registry.remove_blob(&digest);
        damage(&path);
        let findings = cache.fixture.repair();
        assert_eq!(findings.len(), 1, "{findings:?}");
        let finding = &findings[0];
        assert_eq!((&finding.path, finding.state, finding.digest), (&path, FindingState::Lost, Some(digest)));
        assert_eq!(finding.images.len(), 1);
        assert_eq!(finding.images[0].reference.as_ref(), Some(&cache.reference));
        let advice = finding.advice.as_ref().unwrap();
        assert_eq!(advice.contains("can be used"), digest == layer.digest, "{advice}");
        assert_eq!(advice.contains("vmroot rm"), digest == config, "{advice}");
        assert!(!path.exists());
        if digest == layer.digest {
            cache.fixture.registry.clear_requests();
            cache.works();
        }
        // It is not forgotten, and comes back when the source has it again.
        let again = cache.fixture.repair();
        assert_eq!((again.len(), again[0].state), (1, FindingState::Lost), "{again:?}");
        cache.fixture.registry.put_blob_as(&digest, whole.clone());
        assert_eq!(cache.repaired()[0].1, Repaired);
        assert_eq!(fs::read(&path).unwrap(), whole);
        cache.quarantine_has(&[&path]);
    }
    // Wrong bytes of the source are refused.
    let path = cache.fixture.blob(&layer.digest);
    cache.fixture.registry.put_blob_as(&layer.digest, b"other bytes".to_vec());
    damage(&path);
    assert_eq!(cache.repaired()[0].1, FindingState::Lost);
    assert!(!path.exists());
}

/// A registry that does not answer may answer later.
#[test]
fn a_blob_of_a_silent_registry_is_not_lost() {
    let cache = DamagedCache::new();
    let digests = [cache.needed.layers[0].digest, cache.needed.layers[1].digest];
    digests.iter().for_each(|digest| damage(&cache.fixture.blob(digest)));
    cache.fixture.registry.misbehave(Rule::on("/").fault(Fault::Close));
    let findings = cache.fixture.repair();
    assert_eq!(
        findings.iter().map(|finding| finding.state).collect::<Vec<_>>(),
        [FindingState::Damaged; 2],
        "{findings:?}"
    );
    assert!(findings.iter().all(|finding| finding.quarantined.is_some()));
    cache.fixture.registry.behave();
    assert!(cache.repaired().iter().all(|finding| finding.1 == Repaired));
    cache.fixture.registry.clear_requests();
    cache.works();
}

/// Blob, layer and root of an image, without its registry: all are lost, and all come back with it.
#[test]
fn a_layer_without_its_blob_cannot_be_repaired() {
    let cache = DamagedCache::new();
    let layer = &cache.needed.layers[1];
    let (index, blob) = (cache.fixture.layer(&layer.diff_id, "idx"), cache.fixture.blob(&layer.digest));
    let root = cache.root(&cache.needed);
    for path in [&index, &blob, &root] {
        damage(path);
    }
    let report = cache.fixture.store.repair(&NoOrigins, &no_progress()).unwrap();
    let states: Vec<_> = report.findings.iter().map(|finding| (finding.path.clone(), finding.state)).collect();
    let mut expected =
        [(blob.clone(), FindingState::Lost), (index.clone(), FindingState::Lost), (root.clone(), Quarantined)];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states, expected);
    assert!(!report.is_whole());
    assert!([&index, &blob, &root].iter().all(|path| !path.exists()));
    cache.quarantine_has(&[&index, &blob, &root]);

    let findings = cache.fixture.repair();
    assert!(findings.iter().all(|finding| finding.state == Repaired), "{findings:?}");
    assert_eq!(cache.fixture.registry.count("/blobs/"), 1, "all other files are valid");
    cache.fixture.registry.clear_requests();
    cache.works();
    assert_eq!(cache.repaired(), []);
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
    let found = strict.repair(&cache.fixture, &no_progress()).unwrap();
    assert_eq!(found.roots, 2);
    assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
    let finding = &found.findings[0];
    assert_eq!((&finding.path, finding.state), (&index, FindingState::Damaged));
    assert!(finding.action.starts_with("not rebuilt: ") && finding.action.contains("max_entries"), "{finding:?}");
    cache.works();
}

#[test]
fn a_record_is_written_again_from_its_copy_or_lost() {
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
        assert_eq!(cache.repaired(), found(path, Repaired, "written again from its other copy"));
        assert_eq!(fs::read(path).unwrap(), whole);
        // A process that is killed between the two writes leaves one copy. That is not damage.
        fs::remove_file(path).unwrap();
        assert_eq!(cache.repaired(), []);
        assert_eq!(fs::read(path).unwrap(), whole);
    }
    damage(&json);
    damage(&copy);
    assert_eq!(cache.repaired(), found(&json, FindingState::Lost, "neither copy can be used"));
    cache.quarantine_has(&[&json, &copy]);
    cache.fixture.pull(&cache.reference).unwrap();
    assert_eq!(cache.repaired(), []);

    // A whole record under the name of another one.
    let other = json.with_file_name(format!("{}.json", "0".repeat(64)));
    fs::copy(&json, &other).unwrap();
    let action = "moved to the quarantine; the image has its own record";
    assert_eq!(cache.repaired(), found(&other, Quarantined, action));
    assert_eq!(cache.fixture.store.images().unwrap().len(), 1);
    // The only one of its image.
    fs::rename(&json, &other).unwrap();
    fs::remove_file(&copy).unwrap();
    assert_eq!(cache.repaired(), found(&other, FindingState::Lost, "neither copy can be used"));
}

#[test]
fn damaged_metadata_and_journals_are_set_aside() {
    let cache = DamagedCache::new();
    let image = cache.fixture.pull(&cache.reference).unwrap();
    cache.fixture.store.set_last_updated(image.id()).unwrap();
    let meta = cache.fixture.cache().join(format!("images/{}.meta", image.id().hex()));
    let journal = cache.fixture.cache().join("images/journal.damaged");
    replace(&meta, "{");
    fs::write(&journal, "{").unwrap();
    let moved = "moved to the quarantine";
    let mut expected = [found(&journal, FindingState::Lost, moved), found(&meta, FindingState::Lost, moved)].concat();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(cache.repaired(), expected);
    cache.quarantine_has(&[&meta, &journal]);
    assert_eq!(cache.repaired(), []);
}

#[test]
fn wrong_permissions_are_corrected() {
    let cache = DamagedCache::new();
    let layer = &cache.needed.layers[0];
    let paths = [
        cache.fixture.blob(&layer.digest),
        cache.fixture.layer(&layer.diff_id, "idx"),
        cache.fixture.layer(&layer.diff_id, "contents"),
        cache.root(&cache.needed),
    ];
    for path in &paths {
        for mode in [0, 0o200, 0o466, 0o777] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(cache.repaired(), found(path, Repaired, "its permissions were corrected"), "{mode:o}");
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o444);
        }
        // The owner may write to its own files.
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(cache.repaired(), []);
    }
    cache.works();
}

/// An image cannot be saved with a blob of the same layer in another compression.
#[test]
fn a_blob_of_another_compression_does_not_replace_a_missing_one() {
    let cache = DamagedCache::new();
    let other = with_layers(ImageBuilder::new().compression(Compression::None), "needed").build();
    assert_eq!(other.layers[1].diff_id, cache.needed.layers[1].diff_id);
    let reference = cache.fixture.serve(&other, "plain");
    cache.fixture.pull(&reference).unwrap();
    for digest in [&other.layers[1].digest, &cache.needed.layers[1].digest] {
        let blob = cache.fixture.blob(digest);
        fs::remove_file(&blob).unwrap();
        let findings = cache.fixture.repair();
        assert!(matches!(&findings[..], [finding] if finding.state == Repaired), "{findings:?}");
        assert!(blob.exists());
        assert_eq!(cache.repaired(), []);
    }
}

/// A partial blob with all its bytes, and the wrong ones.
#[test]
fn a_damaged_partial_blob_is_set_aside() {
    let cache = DamagedCache::new();
    let digest = cache.needed.layers[1].digest;
    let blob = cache.fixture.blob(&digest);
    let partial = blob.with_extension("partial");
    let bytes = fs::read(&blob).unwrap();
    let contents = [
        (bytes[..5].to_vec(), false),
        (bytes.clone(), false),
        ([&bytes[..], b"x"].concat(), true),
        (vec![1; bytes.len()], true),
    ];
    for (content, is_damaged) in contents {
        fs::write(&partial, content).unwrap();
        let expected = if is_damaged {
            found(&partial, Quarantined, "moved to the quarantine; a fetch begins again")
        } else {
            Vec::new()
        };
        assert_eq!(cache.repaired(), expected);
        assert_eq!(partial.exists(), !is_damaged);
    }
}

/// Repairs of several threads and stores at once: each damaged file is repaired, by any of them.
#[test]
fn repairs_run_beside_each_other() {
    let cache = DamagedCache::new();
    let layer = &cache.needed.layers[1];
    let paths = [
        cache.fixture.blob(&layer.digest),
        cache.fixture.blob(&cache.needed.config_digest),
        cache.fixture.layer(&layer.diff_id, "contents"),
        cache.root(&cache.needed),
    ];
    let stores = [cache.fixture.store.clone(), cache.fixture.another(), cache.fixture.another()];
    for _ in 0..10 {
        paths.iter().for_each(|path| damage(path));
        std::thread::scope(|scope| {
            for store in &stores {
                scope.spawn(|| {
                    let report = store.repair(&cache.fixture, &no_progress()).unwrap();
                    assert!(report.is_whole(), "{:?}", report.findings);
                });
            }
        });
        assert_eq!(cache.fixture.verify(), []);
        assert_eq!(cache.fixture.store.quarantined().unwrap(), []);
    }
}
