//! Images in the stores of podman and buildah.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use vmroot_compress::Limits;
use vmroot_model::Digest;
use vmroot_testkit::skip;
use vmroot_transport::{Archive, Error, ImageName, ImageSource, StorageOptions, StorageUser, open_storage};

use crate::builder::{Image, docker_save, file, tar};
use crate::pull::{assert_same_image, options, pull};

pub(crate) fn storage_options(root: &Path) -> StorageOptions {
    StorageOptions {
        root: root.to_owned(),
        run_root: None,
        driver: None,
        additional_stores: Vec::new(),
        limits: Limits::default(),
    }
}

/// Opens an image by the part of its name after `containers-storage:`.
pub(crate) fn open(name: &str, options: &StorageOptions) -> Result<Box<dyn ImageSource>, Error> {
    let ImageName::Storage(name) = ImageName::parse(&format!("containers-storage:{name}"))? else { panic!("{name}") };
    open_storage(&name, options)
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A store in a temporary directory.
struct Store {
    directory: TempDir,
    driver: &'static str,
}

impl Store {
    fn new(driver: &'static str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), driver }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self) -> StorageOptions {
        storage_options(&self.at("root"))
    }

    fn name(&self, image: &str) -> String {
        let (root, run_root) = (self.at("root"), self.at("run"));
        format!("containers-storage:[{}@{}+{}]{image}", self.driver, root.display(), run_root.display())
    }

    fn skopeo(&self, arguments: &[&str]) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "--override-arch", "arm64", "copy", "--quiet"]);
        run(skopeo.args(arguments));
    }

    /// Adds an image, from gzip layers.
    fn add(&self, image: &Image, name: &str) {
        let saved = self.at("saved.tar");
        fs::write(&saved, tar(&docker_save(&[(image, &["a:1"])]))).unwrap();
        let compressed = format!("dir:{}", self.at("compressed").display());
        self.skopeo(&["--dest-compress", &format!("docker-archive:{}", saved.display()), &compressed]);
        self.skopeo(&[&compressed, &self.name(name)]);
    }

    /// Reads an image back with skopeo.
    fn read_by_skopeo(&self, image: &str) -> Box<dyn ImageSource> {
        let to = self.at("read");
        self.skopeo(&[&self.name(image), &format!("dir:{}", to.display())]);
        let archive = Archive::open(&to, &options(self.directory.path())).unwrap();
        archive.source(&archive.images()[0]).unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The driver mounts its directory on itself, and leaves it mounted. Otherwise the call fails.
        let _ = rustix::mount::unmount(self.at("root/overlay"), rustix::mount::UnmountFlags::DETACH);
    }
}

/// Returns an image whose layers have entries of all kinds, some of which need care on disk.
fn varied_image() -> Image {
    let mut base = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o1755 } else { 0o4640 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_007);
        header.set_size(content.len() as u64);
        match kind {
            tar::EntryType::Symlink | tar::EntryType::Link => base.append_link(&mut header, path, target).unwrap(),
            _ => base.append_data(&mut header, path, content).unwrap(),
        }
    };
    add(tar::EntryType::Directory, "./", "", b"");
    add(tar::EntryType::Directory, "./usr/lib/", "", b"");
    add(tar::EntryType::Symlink, "./lib", "usr/lib", b"");
    add(tar::EntryType::Regular, "./lib/through-a-link", "", b"content");
    add(tar::EntryType::Regular, "./usr/empty", "", b"");
    add(tar::EntryType::Regular, "./usr/large", "", &vec![7; 3_000_000]);
    add(tar::EntryType::Link, "./usr/hard", "./usr/large", b"");
    add(tar::EntryType::Regular, &format!("./{}/long", "n".repeat(120)), "", b"long");
    let base = base.into_inner().unwrap();
    let top = tar(&[
        file("usr/.wh.hard", ""),
        file("usr/lib/.wh..wh..opq", ""),
        file("usr/lib/new \"quoted\"\tname", "new"),
        file("usr/empty", "not empty now"),
    ]);
    // The same layer twice, which is stored twice.
    let again = tar(&[file("etc/again", "again")]);
    Image::of(vec![base, again.clone(), top, again])
}

fn document(source: &dyn ImageSource) -> Value {
    serde_json::from_slice(&source.manifest(None).unwrap().bytes).unwrap()
}

#[test]
fn layers_have_the_same_bytes_in_every_driver() {
    if skip::needs_root() || skip::needs_program("skopeo") {
        return;
    }
    for driver in ["overlay", "vfs"] {
        let store = Store::new(driver);
        let image = varied_image();
        store.add(&image, "localhost/varied:1");
        let source = open("localhost/varied:1", &store.options()).unwrap();
        assert_same_image(&*source, &image);
        let notes = source.notes();
        assert!(notes.len() == 1 && notes[0].contains("only uncompressed layers"), "{notes:?}");
        // The manifest that was stored can be described.
        let original = source.original_manifest().unwrap();
        assert!(notes[0].contains(&Digest::of(&original.bytes).to_string()), "{notes:?}");
        let stored: Value = serde_json::from_slice(&original.bytes).unwrap();
        assert_eq!(stored["config"], document(&*source)["config"]);
        assert_ne!(stored["layers"], document(&*source)["layers"]);
        // skopeo reads the same layers and the same config, in a manifest of the same type.
        let theirs = store.read_by_skopeo("localhost/varied:1");
        let (ours, theirs) = (document(&*source), document(&*theirs));
        for field in ["config", "mediaType", "schemaVersion"] {
            assert_eq!(ours[field], theirs[field], "{driver}: {field}");
        }
        // Old versions of skopeo write the wrong media type for plain layers.
        let plain = |document: &Value| -> Vec<(Value, Value)> {
            let layers = document["layers"].as_array().unwrap();
            layers.iter().map(|layer| (layer["digest"].clone(), layer["size"].clone())).collect()
        };
        assert_eq!(plain(&ours), plain(&theirs), "{driver}");
        // The image's location can be in its name.
        let located = format!("[{driver}@{}]localhost/varied:1", store.at("root").display());
        assert_same_image(&*open(&located, &storage_options(Path::new("/nonexistent"))).unwrap(), &image);
        let wrong = StorageOptions { driver: Some("btrfs".to_owned()), ..store.options() };
        assert!(open("localhost/varied:1", &wrong).unwrap_err().to_string().contains("btrfs is not supported"));
    }
}

#[test]
fn images_are_found_by_name_id_and_digest() {
    if skip::needs_root() || skip::needs_program("skopeo") {
        return;
    }
    let store = Store::new("vfs");
    let images = [Image::new(1, 1), Image::new(2, 2)];
    store.add(&images[0], "example.com/a:1");
    store.add(&images[1], "docker.io/library/b:latest");
    let id = images[0].id().hex();
    let list: Value = serde_json::from_slice(&fs::read(store.at("root/vfs-images/images.json")).unwrap()).unwrap();
    let records = list.as_array().unwrap();
    let digest = records.iter().find(|record| record["id"] == id[..]).unwrap()["digest"].clone();
    let digest = digest.as_str().unwrap();
    for name in [
        "example.com/a:1".to_owned(),
        id.clone(),
        id[..3].to_owned(),
        format!("@{}", &id[..12]),
        format!("example.com/a:1@{id}"),
        format!("example.com/a@{digest}"),
        format!("example.com/a:other@{digest}"),
    ] {
        let source = open(&name, &store.options()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same_image(&*source, &images[0]);
    }
    assert_same_image(&*open("b", &store.options()).unwrap(), &images[1]);
    for name in [
        "example.com/a".to_owned(),
        format!("example.com/other@{digest}"),
        format!("example.com/a@{}", Digest::of(b"")),
        format!("example.com/other:1@{id}"),
        "a".repeat(64),
    ] {
        let error = open(&name, &store.options()).unwrap_err();
        let Error::NoStoredImage { available, .. } = &error else { panic!("{name}: {error}") };
        assert!(available.contains(&format!("example.com/a:1 ({})", &id[..12])), "{available}");
    }
    // The images of an additional store are found as well.
    let other = Store::new("overlay");
    other.add(&Image::new(3, 1), "example.com/c:1");
    let mut options = other.options();
    assert!(open(&id, &options).is_err());
    options.additional_stores = vec!["/nonexistent".into(), store.at("root")];
    for name in [&id, "example.com/a:1"] {
        assert_same_image(&*open(name, &options).unwrap(), &images[0]);
    }
}

#[test]
fn an_image_that_buildah_built_keeps_its_manifest() {
    if skip::needs_root() || skip::needs_program("buildah") || skip::needs_program("podman") {
        return;
    }
    let store = Store::new("overlay");
    fs::create_dir_all(store.at("context/etc")).unwrap();
    fs::write(store.at("context/etc/file"), vec![3; 100_000]).unwrap();
    fs::hard_link(store.at("context/etc/file"), store.at("context/etc/other")).unwrap();
    let (root, run_root) = (store.at("root"), store.at("run"));
    let with = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--root").arg(&root).arg("--runroot").arg(&run_root).args(["--storage-driver", "overlay"]);
        run(command.args(arguments)).trim().to_owned()
    };
    let container = with("buildah", &["from", "scratch"]);
    with("buildah", &["copy", &container, store.at("context").to_str().unwrap(), "/"]);
    with("buildah", &["config", "--arch", "arm64", "--cmd", "/bin/x", &container]);
    let id = with("buildah", &["commit", "--quiet", "--rm", &container, "localhost/built:1"]);
    let source = open("localhost/built:1", &store.options()).unwrap();
    assert_eq!(source.notes(), Vec::<String>::new());
    let pulled = pull(&*source);
    assert_eq!(pulled.id().hex(), id);
    // The digest is the one that podman shows.
    let digest = with("podman", &["image", "inspect", "--format", "{{.Digest}}", &id]);
    assert_eq!(Digest::of(&source.manifest(None).unwrap().bytes).to_string(), digest);
    with("podman", &["tag", &id, "example.com/tagged:2"]);
    assert_same_image(&*open("example.com/tagged:2", &store.options()).unwrap(), &pulled);
    with("podman", &["rmi", "--force", &id]);
    assert!(matches!(open(&id, &store.options()).unwrap_err(), Error::NoStoredImage { .. }));
    assert!(source.blob(&serde_json::from_value(document(&*source)["layers"][0].clone()).unwrap(), 0).is_err());
}

/// The store of a user other than root: `nobody`, because skopeo needs an entry in the list of users.
#[test]
fn rootless_stores() {
    if skip::needs_root() || skip::needs_program("skopeo") || skip::needs_program("setpriv") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
    chown(home.path(), Some(65534), Some(65534)).unwrap();
    let image = Image::new(4, 2);
    let saved = home.path().join("saved.tar");
    fs::write(&saved, tar(&docker_save(&[(&image, &["a:1"])]))).unwrap();
    let root = home.path().join(".local/share/containers/storage");
    let mut skopeo = Command::new("setpriv");
    skopeo.args(["--reuid=65534", "--regid=65534", "--clear-groups", "skopeo", "--insecure-policy"]);
    skopeo.args(["--override-arch", "arm64", "copy", "--quiet", &format!("docker-archive:{}", saved.display())]);
    skopeo.arg(format!("containers-storage:[vfs@{}+{}/run]localhost/a:1", root.display(), home.path().display()));
    run(skopeo.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path()));
    let user = StorageUser { uid: 65534, home: home.path().to_owned(), ..StorageUser::default() };
    let options = vmroot_transport::StorageConfig::default().locate(&user, false);
    assert_eq!(options.root, root);
    assert_same_image(&*open("localhost/a:1", &options).unwrap(), &image);
}
