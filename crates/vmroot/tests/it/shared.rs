//! Shared caches: images are used in place, and a cache that disappears or is damaged never ends the program.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot::export::{DirectoryOptions, TarOptions, export_directory, write_tar};
use vmroot::{
    Client, ClientOptions, CommitLayer, CommitOptions, ContainerFs, ErrorKind, Image, InodeId, PullOptions, PullPolicy,
    Reference, SaveOptions, with_causes,
};
use vmroot_testkit::image::{Image as BuiltImage, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

const SIZE: usize = 300_000;

/// A registry with an image of two layers, a cache with that image, and an empty cache.
struct Shared {
    registry: Registry,
    built: BuiltImage,
    name: String,
    directory: TempDir,
}

impl Shared {
    fn new() -> Self {
        let registry = Registry::start();
        let lower = Layer::new([Entry::file("lower", noise(1, SIZE)), Entry::file("gone", "x")]);
        let upper = Layer::new([Entry::file("upper", noise(2, SIZE)), Entry::whiteout("gone")]);
        let built = ImageBuilder::new().layer(&lower).layer(&upper).build();
        for (digest, bytes) in built.blobs() {
            registry.put_blob_as(&digest, bytes);
        }
        let document = &built.manifest;
        registry.put_manifest("test/image", Some("v1"), &document.media_type, &document.bytes);
        let name = format!("{}/test/image:v1", registry.host());
        let directory = tempfile::tempdir().unwrap();
        let shared = Self { registry, built, name, directory };
        shared.client("theirs", &[]).pull(&shared.name).unwrap();
        shared.registry.clear_requests();
        shared
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns a client with a cache of its own and shared ones.
    fn client(&self, own: &str, shared: &[&str]) -> Client {
        let mut options = ClientOptions::new(self.path(own));
        options.store.shared = shared.iter().map(|name| self.path(name)).collect();
        options.registry.plain_http = true;
        options.registry.retries = 0;
        Client::new(options).unwrap()
    }

    fn image(&self, client: &Client) -> Image {
        client.image(&self.name, &PullOptions { policy: PullPolicy::Missing, ..PullOptions::default() }).unwrap()
    }

    fn pull(&self, client: &Client) -> Image {
        client.pull_with(&self.name, &PullOptions { policy: PullPolicy::Missing, ..PullOptions::default() }).unwrap()
    }

    fn layer(&self, cache: &str, number: usize, extension: &str) -> PathBuf {
        self.path(cache).join(format!("layers/v1/{}.{extension}", self.built.layers[number].diff_id.hex()))
    }

    fn blob(&self, cache: &str, number: usize) -> PathBuf {
        self.path(cache).join("blobs/sha256").join(self.built.layers[number].digest.hex())
    }

    fn remove_layer(&self, cache: &str, number: usize) {
        for extension in ["idx", "contents"] {
            fs::remove_file(self.layer(cache, number, extension)).unwrap();
        }
    }

    fn assert_no_requests(&self) {
        assert_eq!(self.registry.requests().len(), 0);
    }
}

/// Returns the files of a cache, except for locks and lists of uses, relative to it.
fn files(cache: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![cache.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|it| it == "lock" || it == "use") => {}
                false => files.push(path.strip_prefix(cache).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    files.sort();
    files
}

fn in_directory(files: &[String], directory: &str) -> usize {
    files.iter().filter(|file| file.starts_with(directory)).count()
}

fn read(root: &ContainerFs, name: &str) -> vmroot::container_fs::Result<Vec<u8>> {
    let ino = root.resolve_path(name.as_bytes())?.ino;
    let mut bytes = vec![0; SIZE + 1];
    let count = root.read_at(ino, 0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn assert_readable(client: &Client, image: &Image) {
    let root = client.root(image).unwrap();
    for (name, seed) in [("lower", 1), ("upper", 2)] {
        assert!(read(&root, name).unwrap() == noise(seed, SIZE), "{name}");
    }
    assert!(root.resolve_path(b"gone").is_err());
}

/// Writes zero bytes into a published file, against the rules.
fn truncate(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
}

#[test]
fn an_image_is_used_in_place() {
    let shared = Shared::new();
    let before = files(&shared.path("theirs"));
    let client = shared.client("own", &["theirs"]);
    let listed = client.images().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].shared_cache.as_deref(), Some(&*shared.path("theirs")));
    assert_eq!(client.len().unwrap(), 1);
    let image = shared.image(&client);
    assert_readable(&client, &image);
    assert_eq!(client.search(&image.id().hex()[..9]).unwrap(), *image.id());
    assert_eq!(client.get(image.id()).unwrap().id(), image.id());
    let root = client.root(&image).unwrap();
    assert!(root.contents().all(|contents| contents.path.starts_with(shared.path("theirs"))));
    let mut tar = Vec::new();
    write_tar(&root, &mut tar, &TarOptions::default()).unwrap();
    assert!(tar.len() > 2 * SIZE);
    let mut saved = Vec::new();
    client.save(&[&shared.name], &mut saved, &SaveOptions::default()).unwrap();
    assert!(saved.len() > SIZE);
    client.export_prebaked(&image, &shared.path("prebaked")).unwrap();
    assert!(vmroot::Prebaked::open(&shared.path("prebaked")).is_ok());
    assert!(client.verify().unwrap().findings.is_empty());
    assert_eq!(files(&shared.path("own")), [""; 0], "nothing was copied");
    assert_eq!(files(&shared.path("theirs")), before, "nothing was written there");
    shared.assert_no_requests();
}

#[test]
fn a_pull_writes_only_a_record() {
    let shared = Shared::new();
    let client = shared.client("own", &["theirs"]);
    let image = shared.pull(&client);
    assert_eq!(image.record().shared_cache, None);
    assert_readable(&client, &image);
    let own = files(&shared.path("own"));
    assert_eq!((own.len(), in_directory(&own, "images/")), (2, 2), "{own:?}");
    shared.assert_no_requests();
    // Always asks the registry for the name, and fetches nothing.
    client.pull(&shared.name).unwrap();
    assert!(shared.registry.requests().iter().all(|request| !request.path.contains("/blobs/")));
    assert_eq!(in_directory(&files(&shared.path("own")), "layers/"), 0);
    assert_eq!(client.collect().unwrap().files, [] as [PathBuf; 0]);
    assert!(client.verify().unwrap().findings.is_empty());
    // Without the shared cache, the image is fetched again like one that was lost.
    let client = shared.client("own", &[]);
    assert_eq!(client.images().unwrap().len(), 1);
    let image = shared.image(&client);
    assert_readable(&client, &image);
    let own = files(&shared.path("own"));
    assert_eq!((in_directory(&own, "layers/"), in_directory(&own, "roots/")), (4, 1), "{own:?}");
}

#[test]
fn a_commit_adds_only_its_layer() {
    let shared = Shared::new();
    let client = shared.client("own", &["theirs"]);
    let image = shared.image(&client);
    let names = vec![Reference::parse("child:1").unwrap()];
    let layer = Layer::new([Entry::file("added", "more")]).to_tar(&Default::default());
    let tar = shared.path("layer.tar");
    fs::write(&tar, layer).unwrap();
    let child =
        client.commit(&image, CommitLayer::Tar(tar), &CommitOptions { names, ..CommitOptions::default() }).unwrap();
    assert_eq!(child.record().shared_cache, None);
    assert_readable(&client, &child);
    assert_eq!(read(&client.root(&child).unwrap(), "added").unwrap(), b"more");
    let own = files(&shared.path("own"));
    // The layer, the config and the manifest.
    assert_eq!((in_directory(&own, "blobs/"), in_directory(&own, "layers/")), (3, 2), "{own:?}");
    client.set_parent(child.id(), image.id()).unwrap();
    assert_eq!(client.get_parent(child.id()).unwrap(), Some(*image.id()));
    assert_eq!(client.children(image.id()).unwrap(), [*child.id()]);
    let sizes = client.history(&child).unwrap();
    assert_eq!(sizes.iter().filter(|(_, size)| size.is_some()).count(), 3);
    assert_eq!(client.why(&child, b"/lower").unwrap().origin.layer(), Some(0));
    shared.assert_no_requests();
}

#[test]
fn an_image_may_be_spread_over_two_caches() {
    let shared = Shared::new();
    shared.client("others", &[]).pull(&shared.name).unwrap();
    shared.registry.clear_requests();
    shared.remove_layer("theirs", 0);
    fs::remove_file(shared.blob("theirs", 0)).unwrap();
    shared.remove_layer("others", 1);
    fs::remove_file(shared.blob("others", 1)).unwrap();
    for cache in ["theirs", "others"] {
        fs::remove_dir_all(shared.path(cache).join("roots/v1")).unwrap();
    }
    let client = shared.client("own", &["theirs", "others"]);
    let image = shared.image(&client);
    assert_readable(&client, &image);
    let own = files(&shared.path("own"));
    assert_eq!((own.len(), in_directory(&own, "roots/")), (1, 1), "only the merged root: {own:?}");
    let mut saved = Vec::new();
    client.save(&[&shared.name], &mut saved, &SaveOptions::default()).unwrap();
    shared.assert_no_requests();
}

#[test]
fn a_layer_is_built_from_the_blob_of_a_shared_cache() {
    let shared = Shared::new();
    fs::remove_dir_all(shared.path("theirs/layers/v1")).unwrap();
    fs::remove_dir_all(shared.path("theirs/roots/v1")).unwrap();
    let client = shared.client("own", &["theirs"]);
    assert_readable(&client, &shared.image(&client));
    let own = files(&shared.path("own"));
    assert_eq!((in_directory(&own, "blobs/"), in_directory(&own, "layers/")), (0, 4), "{own:?}");
    shared.assert_no_requests();
}

#[test]
fn damaged_files_of_a_shared_cache_are_fetched() {
    let shared = Shared::new();
    // No file has its bytes: the index is invalid, the contents are too short, and the blob has a wrong digest.
    fs::remove_dir_all(shared.path("theirs/roots/v1")).unwrap();
    truncate(&shared.layer("theirs", 0, "contents"));
    let index = shared.layer("theirs", 1, "idx");
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::remove_file(&index).unwrap();
    fs::write(&index, bytes).unwrap();
    for number in [0, 1] {
        let blob = shared.blob("theirs", number);
        let mut bytes = fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, bytes).unwrap();
    }
    let client = shared.client("own", &["theirs"]);
    let error = client.root(&shared.image(&client)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    // The remedy is in a field, for the program's hint.
    let text = format!("{error:?}");
    assert!(text.contains(shared.path("theirs").to_str().unwrap()) && text.contains("pull"), "{text}");
    assert_readable(&client, &shared.pull(&client));
    assert_eq!(in_directory(&files(&shared.path("own")), "layers/"), 4);
    // The documents were there.
    assert_eq!(in_directory(&files(&shared.path("own")), "blobs/"), 2);
}

/// A map of a truncated file would end the process.
#[test]
fn files_that_are_truncated_in_use_are_errors() {
    let shared = Shared::new();
    let client = shared.client("own", &["theirs"]);
    let image = shared.image(&client);
    let root = client.root(&image).unwrap();
    let roots = shared.path("theirs/roots/v1");
    let root_index = fs::read_dir(&roots).unwrap().next().unwrap().unwrap().path();
    truncate(&root_index);
    for number in [0, 1] {
        truncate(&shared.layer("theirs", number, "idx"));
        truncate(&shared.layer("theirs", number, "contents"));
        truncate(&shared.blob("theirs", number));
    }
    let names: Vec<_> = root.readdir(InodeId::ROOT, 0).unwrap().map(|entry| entry.name.to_vec()).collect();
    assert_eq!(names, [b"lower", b"upper"]);
    let error = with_causes(&read(&root, "lower").unwrap_err());
    let contents = shared.layer("theirs", 0, "contents");
    assert!(error.contains(contents.to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("the shared cache {}", shared.path("theirs").display())), "{error}");
    let mut sink = std::io::sink();
    assert!(write_tar(&root, &mut sink, &TarOptions::default()).is_err());
    let directory = shared.path("exported");
    let error = export_directory(&root, &directory, &DirectoryOptions::default()).unwrap_err();
    assert!(with_causes(&error).contains("the shared cache"), "{}", with_causes(&error));
    let error = client.save(&[&shared.name], &mut sink, &SaveOptions::default()).unwrap_err();
    assert!(format!("{error:?}").contains(shared.path("theirs").to_str().unwrap()), "{error:?}");
    // The registry still has the image.
    let image = shared.pull(&client);
    assert_readable(&client, &image);
}

#[test]
fn a_shared_cache_may_disappear() {
    let shared = Shared::new();
    let client = shared.client("own", &["theirs"]);
    let image = shared.image(&client);
    let root = client.root(&image).unwrap();
    fs::rename(shared.path("theirs"), shared.path("away")).unwrap();
    assert!(read(&root, "lower").unwrap() == noise(1, SIZE), "open files stay readable");
    assert!(client.images().unwrap().is_empty());
    let error = client.root(&image).unwrap_err();
    assert!(format!("{error:?}").contains(shared.path("theirs").to_str().unwrap()), "{error:?}");
    assert_readable(&client, &shared.image(&client));
    assert!(!shared.registry.requests().is_empty());
    // It comes back, and another one never was there.
    fs::rename(shared.path("away"), shared.path("theirs")).unwrap();
    shared.registry.clear_requests();
    let client = shared.client("third", &["missing", "theirs"]);
    assert_readable(&client, &shared.image(&client));
    shared.assert_no_requests();
}

#[test]
fn images_of_a_shared_cache_are_not_removed() {
    let shared = Shared::new();
    let client = shared.client("own", &["theirs"]);
    let image = shared.image(&client);
    let text = format!("the shared cache {}", shared.path("theirs").display());
    for error in [client.remove_name(&image).unwrap_err(), client.remove(&image).unwrap_err()] {
        assert!(error.to_string().contains(&text), "{error}");
    }
    assert!(client.delete_image(image.id()).unwrap_err().to_string().contains(&text));
    assert!(client.set_built_locally(image.id()).unwrap_err().to_string().contains(&text));
    // An own record is removed, and the image stays visible.
    let image = shared.pull(&client);
    assert_eq!(client.remove_name(&image).unwrap().records.len(), 1);
    assert_eq!(client.images().unwrap().len(), 1);
    assert_readable(&client, &shared.image(&client));
    // The owner can remove it, because a reader holds no lock.
    let owner = shared.client("theirs", &[]);
    owner.remove(&owner.find(&shared.name, None).unwrap()).unwrap();
    assert!(!owner.collect().unwrap().files.is_empty());
    assert_eq!(client.images().unwrap().len(), 0);
}

#[test]
fn the_own_cache_comes_first() {
    let shared = Shared::new();
    let client = shared.client("own", &["theirs", "own"]);
    client.pull(&shared.name).unwrap();
    let client = shared.client("fourth", &["own", "theirs"]);
    let listed = client.images().unwrap();
    assert_eq!((listed.len(), listed[0].shared_cache.as_deref()), (1, Some(&*shared.path("own"))));
}
