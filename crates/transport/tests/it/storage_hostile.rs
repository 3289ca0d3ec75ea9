//! Damaged and hostile stores. They are made by hand, so that no other program is needed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_model::{Descriptor, Digest, MediaType};
use vmroot_transport::{Error, ImageSource, StorageOptions};

use crate::builder::{Image, gzip};
use crate::pull::assert_same_image;
use crate::storage::{open, storage_options};

/// The name of the image.
const NAME: &str = "localhost/a:1";

/// A store with one image of one layer with one file.
struct Store {
    directory: TempDir,
    image: Image,
}

impl Store {
    fn new() -> Self {
        let store = Self { directory: tempfile::tempdir().unwrap(), image: Image::new(1, 1) };
        let config = &store.image.config;
        let compressed = gzip(&store.image.layers[0]);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": Descriptor::of(MediaType::OCI_CONFIG, config),
            "layers": [{
                "mediaType": MediaType::OCI_LAYER_GZIP, "digest": Digest::of(&compressed), "size": compressed.len(),
                "annotations": { "io.github.containers.zstd-chunked.manifest-position": "1", "kept": "yes" },
            }],
            "annotations": { "also": "kept" },
        });
        store.write_item("manifest", manifest.to_string().as_bytes());
        store.write_item(&store.image.id().to_string(), config);
        store.write_lists(|_| {}, |_| {});
        store.write_split(&store.lines());
        store.write("overlay/layer/diff/file-1-0", store.content());
        store
    }

    fn options(&self) -> StorageOptions {
        storage_options(self.directory.path())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), bytes).unwrap();
    }

    fn write_item(&self, item: &str, bytes: &[u8]) {
        let name = if item.contains(':') { format!("={}", STANDARD.encode(item)) } else { item.to_owned() };
        self.write(&format!("overlay-images/image/{name}"), bytes);
    }

    /// Writes the lists, after changes to the records.
    fn write_lists(&self, change_image: impl Fn(&mut Value), change_layer: impl Fn(&mut Value)) {
        let mut image = json!({
            "id": "image", "names": [NAME], "layer": "layer",
            "big-data-names": ["manifest", self.image.id()], "big-data-digests": null,
        });
        let mut layer = json!({
            "id": "layer", "diff-digest": Digest::of(&self.image.layers[0]), "diff-size": self.image.layers[0].len(),
        });
        change_image(&mut image);
        change_layer(&mut layer);
        self.write("overlay-images/images.json", json!([image]).to_string().as_bytes());
        self.write("overlay-layers/layers.json", json!([layer]).to_string().as_bytes());
    }

    fn write_split(&self, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write("overlay-layers/layer.tar-split.gz", &gzip(text.as_bytes()));
    }

    /// Returns the bytes of the layer's file: all but a header of 512 bytes, and padding.
    fn content(&self) -> &[u8] {
        &self.image.layers[0][512..512 + 1000]
    }

    fn lines(&self) -> Vec<Value> {
        let layer = &self.image.layers[0];
        let checksum = crc::Crc::<u64>::new(&crc::CRC_64_GO_ISO).checksum(self.content());
        vec![
            json!({ "type": 2, "payload": STANDARD.encode(&layer[..512]), "position": 0 }),
            json!({
                "type": 1, "name": "file-1-0", "size": 1000, "payload": STANDARD.encode(checksum.to_be_bytes()),
                "position": 1,
            }),
            json!({ "type": 2, "payload": STANDARD.encode(&layer[1512..]), "position": 2 }),
        ]
    }

    fn open(&self) -> Result<Box<dyn ImageSource>, Error> {
        open(NAME, &self.options())
    }

    /// Opens the image and reads its layer.
    fn read(&self) -> Result<Vec<u8>, Error> {
        let source = self.open()?;
        let manifest: Value = serde_json::from_slice(&source.manifest(None)?.bytes).unwrap();
        let layer: Descriptor = serde_json::from_value(manifest["layers"][0].clone()).unwrap();
        let mut bytes = Vec::new();
        match source.blob(&layer, 0)?.reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(error.downcast::<Error>().expect("an error of the crate")),
        }
    }

    fn error(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

#[test]
fn the_store_is_right_before_it_is_damaged() {
    let store = Store::new();
    let source = store.open().unwrap();
    assert_same_image(&*source, &store.image);
    let manifest: Value = serde_json::from_slice(&source.manifest(None).unwrap().bytes).unwrap();
    assert_eq!(manifest["annotations"], json!({ "also": "kept" }));
    assert_eq!(manifest["layers"][0]["annotations"], json!({ "kept": "yes" }));
    assert_eq!(manifest["layers"][0]["mediaType"], json!(MediaType::OCI_LAYER));

    // Old stores have no size, and layers that were pulled in parts have the digest in a flag.
    let diff_id = Digest::of(&store.image.layers[0]);
    store.write_lists(|_| {}, |layer| *layer = json!({ "id": "layer", "flags": { "expected-layer-diffid": diff_id } }));
    assert_same_image(&*store.open().unwrap(), &store.image);
    // An image from before manifests were kept, and one of a schema that has no descriptors.
    for manifest in [None, Some(&br#"{"schemaVersion": 1, "fsLayers": [], "history": []}"#[..])] {
        match manifest {
            None => store.write_lists(|image| image["big-data-names"] = json!([store.image.id()]), |_| {}),
            Some(bytes) => {
                store.write_lists(|_| {}, |_| {});
                store.write_item("manifest", bytes);
            }
        }
        let source = store.open().unwrap();
        assert_same_image(&*source, &store.image);
        assert_eq!(source.notes(), ["the image's manifest was created anew"]);
    }
}

#[test]
fn damaged_tar_splits_are_errors() {
    let store = Store::new();
    let lines = store.lines();
    let with = |at: usize, field: &str, value: Value| {
        let mut lines = lines.clone();
        lines[at][field] = value;
        store.write_split(&lines);
        store.error()
    };
    let error = with(1, "size", json!(1u64 << 60));
    assert!(error.contains("has 1000 bytes, and should have 1152921504606846976"), "{error}");
    let error = with(1, "size", json!(-5));
    assert!(error.contains("line 2 of layer.tar-split.gz") && error.contains("has the size -5"), "{error}");
    let error = with(1, "payload", json!("AAAAAAAAAAA="));
    assert!(error.contains("file-1-0") && error.contains("does not have the checksum"), "{error}");
    let error = with(1, "name", json!("missing"));
    assert!(error.contains("file missing not found in") && error.contains("overlay/layer/diff"), "{error}");
    let error = with(2, "type", json!(9));
    assert!(error.contains("line 3") && error.contains("unknown type 9"), "{error}");
    let error = with(0, "payload", json!("=="));
    assert!(error.contains("line 1") && error.contains("is not base64"), "{error}");

    store.write("overlay-layers/layer.tar-split.gz", b"{");
    assert!(store.error().contains("is not of tar-split"));
    let long = format!("{{\"type\":2,\"payload\":\"{}\"}}", "A".repeat(17 << 20));
    store.write("overlay-layers/layer.tar-split.gz", &gzip(long.as_bytes()));
    assert!(store.error().contains("is longer than 16777216 bytes"));
    let whole = gzip(lines[0].to_string().as_bytes());
    store.write("overlay-layers/layer.tar-split.gz", &whole[..whole.len() / 2]);
    assert!(matches!(store.read().unwrap_err(), Error::Decompress { .. }));
    fs::remove_file(store.at("overlay-layers/layer.tar-split.gz")).unwrap();
    assert!(store.error().contains("tar-split file layer.tar-split.gz not found"));
    // Fewer lines are a layer of another digest, which the reader of a blob checks.
    store.write_split(&lines[..2]);
    assert!(store.read().unwrap().len() < store.image.layers[0].len());
}

#[test]
fn files_outside_of_the_layer_are_not_read() {
    let store = Store::new();
    let secret = store.at("secret");
    fs::write(&secret, store.content()).unwrap();
    let file = store.at("overlay/layer/diff/file-1-0");
    fs::remove_file(&file).unwrap();
    symlink(&secret, &file).unwrap();
    assert!(store.error().contains("is a symbolic link"));
    symlink(store.directory.path(), store.at("overlay/layer/diff/up")).unwrap();
    for name in ["up/secret", "../../../secret", secret.to_str().unwrap()] {
        let mut lines = store.lines();
        lines[1]["name"] = json!(name);
        store.write_split(&lines);
        assert!(store.error().contains("not found"), "{name}");
    }
    for id in ["../layer", "..", "", "a/b"] {
        store.write_lists(|image| image["layer"] = json!(id), |layer| layer["id"] = json!(id));
        assert!(store.error().contains("is not an id"), "{id}");
        store.write_lists(|image| image["id"] = json!(id), |_| {});
        assert!(store.error().contains("is not an id"), "{id}");
    }
}

/// A change to a record.
type Change<'c> = &'c dyn Fn(&mut Value);

#[test]
fn damaged_lists_and_documents_are_errors() {
    let store = Store::new();
    let cases: [(&str, Change, Change); 6] = [
        ("layer other not found", &|image| image["layer"] = json!("other"), &|_| {}),
        ("the layers of one image exceeds", &|_| {}, &|layer| layer["parent"] = json!("layer")),
        ("has no digest of its tar", &|_| {}, &|layer| layer["diff-digest"] = json!("")),
        ("has no digest of its tar", &|_| {}, &|layer| layer["diff-digest"] = json!("sha256:0")),
        ("lists 1 layers, and the store has 0", &|image| image["layer"] = json!(""), &|_| {}),
        ("manifest in", &|image| image["big-data-digests"] = json!({ "manifest": Digest::of(b"other") }), &|_| {}),
    ];
    for (reason, change_image, change_layer) in cases {
        store.write_lists(change_image, change_layer);
        let error = store.error();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    store.write_lists(|_| {}, |_| {});
    store.write("overlay-layers/layers.json", b"[{]");
    assert!(store.error().starts_with("layers.json in "));
    store.write_lists(|_| {}, |_| {});
    let huge = fs::File::create(store.at("overlay-images/images.json")).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert!(matches!(store.read().unwrap_err(), Error::MemberTooLarge { .. }));
    store.write_lists(|_| {}, |_| {});
    store.write_item("manifest", &vec![b' '; 5 << 20]);
    assert!(matches!(store.read().unwrap_err(), Error::MemberTooLarge { .. }));
    fs::remove_file(store.at("overlay-images/image/manifest")).unwrap();
    assert!(store.error().contains("data item manifest of image not found"));

    let store = Store::new();
    fs::create_dir(store.at("overlay/layer/composefs-data")).unwrap();
    assert!(store.error().contains("stored for composefs"));
    let empty = tempfile::tempdir().unwrap();
    let error = open(NAME, &storage_options(empty.path())).unwrap_err();
    assert!(matches!(error, Error::EmptyStore { .. }), "{error}");
}

/// Writers of containers/storage hold a lock of their process on the list.
#[test]
fn a_list_that_is_being_written_is_read_afterwards() {
    use rustix::fs::{FlockOperation, fcntl_lock};

    let store = Store::new();
    store.write("overlay-layers/layers.lock", b"");
    store.write("overlay-images/images.lock", b"");
    let lock = fs::File::options().write(true).open(store.at("overlay-images/images.lock")).unwrap();
    fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let list = fs::read(store.at("overlay-images/images.json")).unwrap();
    store.write("overlay-images/images.json", b"[");
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| store.read().map(|bytes| bytes.len()));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!reading.is_finished(), "the reader waits for the writer");
        store.write("overlay-images/images.json", &list);
        fcntl_lock(&lock, FlockOperation::Unlock).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), store.image.layers[0].len());
    });
}
