//! The cases of the tests of Docker's image store (`image/store_test.go`, `image/fs_test.go` of moby), with their inputs
//! and results. The layers are real ones, because the store has no layers without bytes.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, SystemTime};

use vmroot::{AddedLayer, Client, ClientOptions, Digest, ErrorKind, ImageConfig, LoadOptions, NewLayer};
use vmroot_testkit::layer::{Encoding, Entry, Layer};

/// The config of TestAddDelete. Its diff id is the SHA-256 of `foo`, without its algorithm.
const ADD_DELETE: &str = r#"{"comment": "abc", "rootfs": {"type": "layers", "diff_ids": ["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"]}}"#;

fn client(directory: &Path) -> Client {
    Client::new(ClientOptions::new(directory)).unwrap()
}

fn comment(comment: &str) -> String {
    format!(r#"{{"comment": "{comment}", "rootfs": {{"type": "layers"}}}}"#)
}

/// A config with diff ids without their algorithm, as in moby's tests.
fn with_layers(comment: &str, layers: &[&AddedLayer]) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id().hex()).collect();
    format!(r#"{{"comment": "{comment}", "rootfs": {{"type": "layers", "diff_ids": {diff_ids:?}}}}}"#)
}

fn add(client: &Client, name: &str) -> AddedLayer {
    let tar = Layer::new([Entry::file(name, name)]).to_tar(&Encoding::default());
    client.add_layer(NewLayer { name: name.to_owned(), reader: Box::new(Cursor::new(tar)) }).unwrap()
}

fn comment_of(client: &Client, id: &Digest) -> String {
    let config: serde_json::Value = serde_json::from_slice(client.get(id).unwrap().config().raw()).unwrap();
    config["comment"].as_str().unwrap().to_owned()
}

fn kind<T: std::fmt::Debug>(result: vmroot::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn test_create() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let error = client.create(b"{}").unwrap_err();
    assert!(vmroot::with_causes(&error).to_lowercase().contains("rootfs"), "{error}");
    // Docker's store refuses other operating systems, too.
    let windows = br#"{"os": "windows", "rootfs": {"type": "layers"}}"#;
    let error = vmroot::with_causes(&client.create(windows).unwrap_err());
    assert!(error.contains("windows"), "{error}");
    for os in ["linux", "Linux", "LINUX", ""] {
        client.create(format!(r#"{{"os": "{os}", "rootfs": {{"type": "layers"}}}}"#).as_bytes()).unwrap();
    }
    assert_eq!(client.len().unwrap(), 4);
}

#[test]
fn test_restore() {
    let directory = tempfile::tempdir().unwrap();
    let (id1, id2);
    {
        let client = client(directory.path());
        let layer = add(&client, "foo");
        id1 = client.create(comment("abc").as_bytes()).unwrap();
        id2 = client.create(with_layers("def", &[&layer]).as_bytes()).unwrap();
        client.set_parent(&id2, &id1).unwrap();
        // An entry that is no image.
        let invalid = Digest::of(b"invalid");
        fs::write(directory.path().join("blobs/sha256").join(invalid.hex()), "invalid").unwrap();
        fs::write(directory.path().join("images").join(invalid.hex() + ".json"), "invalid").unwrap();
    }
    let client = client(directory.path());
    assert_eq!(client.map().unwrap().len(), 2);
    assert_eq!(*client.get(&id1).unwrap().id(), id1);
    assert_eq!((comment_of(&client, &id1), comment_of(&client, &id2)), ("abc".to_owned(), "def".to_owned()));
    assert_eq!((client.get_parent(&id1).unwrap(), client.get_parent(&id2).unwrap()), (None, Some(id1)));
    assert_eq!(client.children(&id1).unwrap(), [id2]);
    assert_eq!(client.heads().unwrap().into_keys().collect::<Vec<_>>(), [id2]);
    assert_eq!(client.search(&id1.to_string()[..10]).unwrap(), id1);
    assert_eq!(client.search(&id1.hex()[..6]).unwrap(), id1);
    let error = client.search(&id1.hex()[1..6]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&id1.hex()[1..6]), "{error}");
    assert_eq!(client.damaged().unwrap().len(), 1, "the restoration says what it left out");
}

#[test]
fn test_add_delete() {
    let expected = "sha256:8d25a9c45df515f9d0fe8e4a6b1c64dd3b965a84790ddbcc7954bb9bc89eb993";
    let config = ImageConfig::new_from_json(ADD_DELETE.into()).unwrap();
    assert_eq!((config.digest().to_string(), config.diff_ids()), (expected.to_owned(), &[Digest::of(b"foo")][..]));
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    // Docker's test has a mock that knows every layer.
    let error = client.create(ADD_DELETE.as_bytes()).unwrap_err();
    assert!(error.to_string().contains(&Digest::of(b"foo").to_string()), "{error}");
    let layer = add(&client, "foo");
    let text = with_layers("abc", &[&layer]);
    let id1 = client.create(text.as_bytes()).unwrap();
    assert_eq!(id1, Digest::of(text.as_bytes()));
    assert_eq!(comment_of(&client, &id1), "abc");
    let id2 = client.create(with_layers("def", &[&layer]).as_bytes()).unwrap();
    drop(layer);
    client.set_parent(&id2, &id1).unwrap();
    assert_eq!(client.get_parent(&id2).unwrap(), Some(id1));
    assert_eq!(client.delete_image(&id1).unwrap(), [], "the other image has the layer");
    assert_eq!(kind(client.get(&id1)), ErrorKind::NotFound);
    client.get(&id2).unwrap();
    assert_eq!(client.get_parent(&id2).unwrap(), None);
    assert_eq!(client.delete_image(&id2).unwrap().len(), 1);
}

#[test]
fn test_search_after_delete() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let id = client.create(comment("abc").as_bytes()).unwrap();
    assert_eq!(client.search(&id.to_string()[..15]).unwrap(), id);
    client.delete_image(&id).unwrap();
    let error = client.search(&id.to_string()[..15]).unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("no such image"), "{error}");
    // TestDeleteNotExisting.
    assert_eq!(kind(client.delete_image(&id)), ErrorKind::NotFound);
}

#[test]
fn test_parent_reset() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [id, id2, id3] = ["abc1", "abc2", "abc3"].map(|text| client.create(comment(text).as_bytes()).unwrap());
    client.set_parent(&id, &id2).unwrap();
    assert_eq!(client.children(&id2).unwrap(), [id]);
    client.set_parent(&id, &id3).unwrap();
    assert_eq!((client.children(&id2).unwrap(), client.children(&id3).unwrap()), (vec![], vec![id]));
}

#[test]
fn test_get_and_set_last_updated() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let id = client.create(comment("abc1").as_bytes()).unwrap();
    assert_eq!(client.get_last_updated(&id).unwrap(), None);
    client.set_last_updated(&id).unwrap();
    let updated = client.get_last_updated(&id).unwrap().unwrap();
    assert!(SystemTime::now().duration_since(updated).unwrap() < Duration::from_secs(60));
}

#[test]
fn test_store_len() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    for number in 0..10 {
        client.create(comment(&format!("abc{number}")).as_bytes()).unwrap();
    }
    assert_eq!((client.len().unwrap(), client.map().unwrap().len()), (10, 10));
}

/// TestFSGetInvalidData, TestFSGetSet, TestFSGetUnsetKey, TestFSGetEmptyData and TestFSDelete.
#[test]
fn test_fs_get_and_set() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let path = |id: &Digest| directory.path().join("blobs/sha256").join(id.hex());
    // Whitespace and the order of members belong to the id.
    let odd = "\n{ \"rootfs\" :{\"type\":\"layers\"},\t\"comment\":\"\\u0041\", \"unknown\":[1e0] }\n";
    let (a, b) = (client.create(odd.as_bytes()).unwrap(), client.create(comment("b").as_bytes()).unwrap());
    assert_eq!((a, b), (Digest::of(odd.as_bytes()), Digest::of(comment("b").as_bytes())));
    assert_eq!(client.get(&a).unwrap().config().raw(), odd.as_bytes());
    for empty in [&b""[..], b" ", b"null", b"foobar"] {
        client.create(empty).unwrap_err();
    }
    for unset in ["foobar:abc", "sha256:abcg", &(a.to_string() + "a"), ""] {
        assert_eq!(kind(client.search(unset)), ErrorKind::NotFound, "{unset}");
    }
    fs::remove_file(path(&a)).unwrap();
    fs::write(path(&a), "foobar2").unwrap();
    assert_eq!(kind(client.get(&a)), ErrorKind::Integrity);
    assert_eq!(client.map().unwrap().into_keys().collect::<Vec<_>>(), [b]);
    // The same bytes make it whole again.
    fs::remove_file(path(&a)).unwrap();
    assert_eq!(kind(client.get(&a)), ErrorKind::Integrity);
    client.delete_image(&a).unwrap();
    assert_eq!(kind(client.get(&a)), ErrorKind::NotFound);
    assert_eq!(client.create(odd.as_bytes()).unwrap(), a);
    client.get(&b).unwrap();
    client.delete_image(&b).unwrap();
    assert_eq!(kind(client.get(&b)), ErrorKind::NotFound);
}

/// TestFSInvalidSet and TestFSInvalidRoot.
#[test]
fn test_fs_invalid_places() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let text = comment("abc");
    fs::create_dir(directory.path().join("blobs/sha256").join(Digest::of(text.as_bytes()).hex())).unwrap();
    client.create(text.as_bytes()).unwrap_err();
    assert!(client.is_empty().unwrap(), "a failed creation leaves no image");
    for place in ["root", "root/blobs", "root/images", "root/layers", "root/locks"] {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join(place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let error = Client::new(ClientOptions::new(scratch.path().join("root"))).unwrap_err();
        assert!(vmroot::with_causes(&error).contains(place), "{place}: {error}");
    }
}

/// TestFSWalker, TestFSInvalidWalker and TestFSMetadataGetSet.
#[test]
fn test_fs_walker_and_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [foo, bar] = ["foo", "bar"].map(|text| client.create(comment(text).as_bytes()).unwrap());
    for stray in ["blobs/sha256/foobar", "images/foobar", "images/.hidden", "foobar"] {
        fs::write(directory.path().join(stray), "foobar").unwrap();
    }
    client.set_last_updated(&foo).unwrap();
    client.set_built_locally(&foo).unwrap();
    client.set_last_updated(&bar).unwrap();
    let other = self::client(directory.path());
    let mut ids = vec![foo, bar];
    ids.sort();
    assert_eq!(other.map().unwrap().into_keys().collect::<Vec<_>>(), ids);
    assert_eq!((other.is_built_locally(&foo).unwrap(), other.is_built_locally(&bar).unwrap()), (true, false));
    let baz = Digest::of(b"baz");
    assert_eq!(kind(other.set_last_updated(&baz)), ErrorKind::NotFound);
    assert_eq!(kind(other.get_last_updated(&baz)), ErrorKind::NotFound);
    assert!(other.damaged().unwrap().is_empty());
}

/// TestLayerRelease of moby's layer store: deletion frees the layers from the top down, as far as no image has them.
#[test]
fn test_layer_release() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [layer1, layer2, layer3a, layer3b] = ["layer1", "layer2", "layer3a", "layer3b"].map(|name| add(&client, name));
    let a = client.create(with_layers("a", &[&layer1, &layer2, &layer3a]).as_bytes()).unwrap();
    let b = client.create(with_layers("b", &[&layer1, &layer2, &layer3b]).as_bytes()).unwrap();
    let diff_ids = [&layer1, &layer2, &layer3a, &layer3b].map(|layer| *layer.diff_id());
    drop((layer1, layer2, layer3a, layer3b));
    let freed = |id| client.delete_image(&id).unwrap().iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
    assert_eq!(freed(b), [diff_ids[3]]);
    let freed = client.delete_image(&a).unwrap();
    assert_eq!(freed.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(), [diff_ids[2], diff_ids[1], diff_ids[0]]);
    let chain = |upper: &Digest, lower: &Digest| Digest::of(format!("{lower} {upper}").as_bytes());
    let middle = chain(&diff_ids[1], &diff_ids[0]);
    let chains = [chain(&diff_ids[2], &middle), middle, diff_ids[0]];
    assert_eq!(freed.iter().map(|layer| layer.chain_id).collect::<Vec<_>>(), chains);
    assert_eq!(freed.iter().map(|layer| layer.diff_size).collect::<Vec<_>>(), [7, 6, 6]);
    assert_eq!(freed.iter().map(|layer| layer.size).collect::<Vec<_>>(), [19, 12, 6]);
}

/// A layer is kept while it is held, and an image needs no other image for it.
#[test]
fn added_layers_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let (held, dropped) = (add(&client, "held"), add(&client, "dropped"));
    let again = add(&client, "held");
    assert_eq!(again.record(), held.record());
    let (with_held, with_dropped) = (with_layers("a", &[&held]), with_layers("b", &[&dropped]));
    drop((again, dropped));
    client.collect().unwrap();
    assert_eq!(kind(client.create(with_dropped.as_bytes())), ErrorKind::NotFound);
    let id = client.create(with_held.as_bytes()).unwrap();
    assert_eq!(client.delete_image(&id).unwrap(), [], "the layer is still held");
    assert_eq!(client.create(with_held.as_bytes()).unwrap(), id);
    drop(held);
    client.collect().unwrap();
    assert_eq!(client.root(&client.get(&id).unwrap()).unwrap().statfs().inodes, 2);
    let junk = NewLayer { name: "junk".to_owned(), reader: Box::new(Cursor::new(b"foo")) };
    let error = client.add_layer(junk).unwrap_err();
    assert!(vmroot::with_causes(&error).contains("junk"), "{error}");
}

/// `damaged` names an image that lost a layer and its blob.
#[test]
fn missing_layers_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let layer = add(&client, "foo");
    let id = client.create(with_layers("abc", &[&layer]).as_bytes()).unwrap();
    assert!(client.damaged().unwrap().is_empty());
    let path = |place: &str, hex: String| directory.path().join(place).join(hex);
    fs::remove_file(path("layers/v1", layer.diff_id().hex() + ".contents")).unwrap();
    assert!(client.damaged().unwrap().is_empty(), "it can be made from its blob");
    fs::remove_file(path("blobs/sha256", layer.record().digest.hex())).unwrap();
    let damaged = client.damaged().unwrap();
    assert_eq!((damaged.len(), damaged[0].kind()), (1, ErrorKind::Integrity));
    assert!(format!("{:?}", damaged[0]).contains(&id.to_string()), "{:?}", damaged[0]);
}

/// TestNewFromJSON and TestNewFromJSONWithInvalidJSON.
#[test]
fn test_new_from_json() {
    let sample = "{\n\t\"architecture\": \"amd64\",\n\t\"os\": \"linux\",\n\t\"config\": {},\n\t\"rootfs\": {\n\t\t\"type\": \
                  \"layers\",\n\t\t\"diff_ids\": []\n\t}\n}";
    let config = ImageConfig::new_from_json(sample.into()).unwrap();
    assert_eq!((config.raw(), config.run_config()), (sample.as_bytes(), &Default::default()));
    let error = vmroot::with_causes(&ImageConfig::new_from_json(b"{}".to_vec()).unwrap_err());
    assert!(error.to_lowercase().contains("rootfs"), "{error}");
}

/// TestValidateManifest of moby's tarexport.
#[test]
fn test_validate_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(&directory.path().join("cache"));
    let load = |list: &str| {
        let path = directory.path().join("archive.tar");
        fs::write(&path, Layer::new([Entry::file("manifest.json", list)]).to_tar(&Encoding::default())).unwrap();
        client.load_archives(&[path], &LoadOptions::default())
    };
    let error = vmroot::with_causes(&load("null").unwrap_err());
    assert!(error.contains("manifest cannot be null (but can be [])"), "{error}");
    assert!(load("[]").unwrap().images.is_empty());
}
