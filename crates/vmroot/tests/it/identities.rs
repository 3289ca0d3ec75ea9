//! Images by their ids: created, found, related and deleted.

use std::fs;
use std::path::Path;

use vmroot::{Client, ClientOptions, Digest, ErrorKind};

fn client(directory: &Path) -> Client {
    Client::new(ClientOptions::new(directory)).unwrap()
}

fn config(comment: &str) -> String {
    format!(r#"{{"comment": "{comment}", "rootfs": {{"type": "layers"}}}}"#)
}

fn create(client: &Client, comment: &str) -> Digest {
    client.create(config(comment).as_bytes()).unwrap()
}

/// A config with a history of steps with a layer.
fn with_history(diff_ids: &[&Digest], steps: usize) -> String {
    let history: Vec<_> = (0..steps).map(|step| serde_json::json!({"created_by": step.to_string()})).collect();
    serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}).to_string()
}

#[test]
fn an_image_is_created_from_its_config() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    for invalid in ["", "abc", "[]", "{}", r#"{"rootfs": null}"#, &with_history(&[], 1)] {
        assert!(client.create(invalid.as_bytes()).is_err(), "{invalid}");
    }
    let unknown = client.create(with_history(&[&Digest::of(b"layer")], 1).as_bytes()).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound, "{unknown}");
    assert_eq!(client.len().unwrap(), 0);
    let text = config("abc");
    let id = create(&client, "abc");
    assert_eq!((id, id), (Digest::of(text.as_bytes()), create(&client, "abc")));
    assert_eq!(client.get(&id).unwrap().config().raw(), text.as_bytes());
    assert_eq!(client.images().unwrap().len(), 1);
    assert_eq!(client.root(&client.get(&id).unwrap()).unwrap().statfs().inodes, 1);
    // Fewer steps than layers are allowed, and an image of the layers of another one needs no source.
    let loaded = client.pull("oci:../../testdata/demo:demo").unwrap();
    let layers: Vec<&Digest> = loaded.config().diff_ids().iter().collect();
    let child = client.create(with_history(&layers, layers.len() - 1).as_bytes()).unwrap();
    assert!(client.create(with_history(&layers, layers.len() + 1).as_bytes()).is_err());
    let root = client.root(&client.get(&child).unwrap()).unwrap();
    assert_eq!(root.statfs().inodes, client.root(&loaded).unwrap().statfs().inodes);
    // The layers are those of two images, so only the second deletion frees them.
    assert_eq!(client.delete_image(loaded.id()).unwrap(), []);
    let freed = client.delete_image(&child).unwrap();
    assert_eq!(freed.iter().rev().map(|layer| &layer.diff_id).collect::<Vec<_>>(), layers);
    assert_eq!(freed[0].size, freed.iter().map(|layer| layer.diff_size).sum::<u64>());
    assert_eq!(client.delete_image(&id).unwrap(), []);
    assert_eq!(client.delete_image(&id).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(client.is_empty().unwrap());
}

#[test]
fn images_have_parents() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|comment| create(&client, comment));
    let unknown = Digest::of(b"unknown");
    assert_eq!(client.get_parent(&a).unwrap(), None);
    for (child, parent) in [(&unknown, &a), (&a, &unknown)] {
        assert_eq!(client.set_parent(child, parent).unwrap_err().kind(), ErrorKind::NotFound);
    }
    client.set_parent(&b, &a).unwrap();
    client.set_parent(&c, &b).unwrap();
    client.set_parent(&d, &a).unwrap();
    let mut of_a = vec![b, d];
    of_a.sort();
    assert_eq!((client.children(&a).unwrap(), client.children(&b).unwrap()), (of_a, vec![c]));
    assert_eq!(client.children(&unknown).unwrap(), []);
    for (child, parent) in [(&a, &a), (&a, &b), (&a, &c)] {
        assert_eq!(client.set_parent(child, parent).unwrap_err().kind(), ErrorKind::Usage);
    }
    let mut heads = vec![c, d];
    heads.sort();
    assert_eq!(client.heads().unwrap().into_keys().collect::<Vec<_>>(), heads);
    // A child moves from one parent to another, and another client sees it.
    client.set_parent(&d, &b).unwrap();
    let other = self::client(directory.path());
    assert_eq!((other.children(&a).unwrap(), other.get_parent(&d).unwrap()), (vec![b], Some(b)));
    client.delete_image(&b).unwrap();
    assert_eq!((other.get_parent(&d).unwrap(), other.children(&a).unwrap()), (None, vec![]));
    assert_eq!((other.map().unwrap().len(), other.heads().unwrap().len()), (3, 3));
    assert_eq!(other.search(&b.to_string()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn times_and_origins_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let id = create(&client, "a");
    assert_eq!((client.get_last_updated(&id).unwrap(), client.is_built_locally(&id).unwrap()), (None, false));
    let before = std::time::SystemTime::now();
    client.set_last_updated(&id).unwrap();
    client.set_built_locally(&id).unwrap();
    let other = self::client(directory.path());
    assert!(other.get_last_updated(&id).unwrap().unwrap() >= before);
    assert!(other.is_built_locally(&id).unwrap());
    let unknown = Digest::of(b"unknown");
    assert_eq!(client.set_last_updated(&unknown).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.set_built_locally(&unknown).unwrap_err().kind(), ErrorKind::NotFound);
    client.delete_image(&id).unwrap();
    assert_eq!(create(&client, "a"), id);
    assert!(!client.is_built_locally(&id).unwrap());
}

/// A client opens a cache with damaged images, and reports these.
#[test]
fn damaged_images_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [a, b, c] = ["a", "b", "c"].map(|comment| create(&client, comment));
    client.set_parent(&c, &b).unwrap();
    assert!(client.damaged().unwrap().is_empty());
    let write = |path: std::path::PathBuf| {
        fs::remove_file(&path).unwrap();
        fs::write(path, "damaged").unwrap();
    };
    write(directory.path().join("blobs/sha256").join(a.hex()));
    write(directory.path().join("images").join(c.hex() + ".meta"));
    assert_eq!(client.get(&a).unwrap_err().kind(), ErrorKind::Integrity);
    let other = self::client(directory.path());
    let mut whole = vec![b, c];
    whole.sort();
    assert_eq!(other.map().unwrap().into_keys().collect::<Vec<_>>(), whole);
    assert_eq!((other.get_parent(&c).unwrap(), other.damaged().unwrap().len()), (None, 2));
}
