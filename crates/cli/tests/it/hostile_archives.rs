//! `load` of archives that are invalid, too large or made by an attacker: nothing is loaded, and the message names the
//! archive.

use std::fs::{self, File};

use serde_json::json;
use vmroot_model::Digest;
use vmroot_testkit::disk::Disk;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Image};
use vmroot_testkit::skip;
use vmroot_testkit::tar_builder::{Header, Magic, TarBuilder, typeflag};

use crate::program::Program;
use crate::samples::{image, noisy};

/// A member of a tar: its type, its name, and its bytes or the target of a link.
type Member<'a> = (u8, &'a str, &'a [u8]);

fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut tar = TarBuilder::new();
    for &(kind, name, content) in members {
        let header = Header::new(Magic::Gnu, kind).name(name.as_bytes()).mode(0o644);
        match kind {
            typeflag::FILE => tar.entry(header, content),
            _ => tar.entry(header.link_name(content), b""),
        };
    }
    tar.finish()
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Member<'a> {
    (typeflag::FILE, name, content)
}

/// Loads a file beside an archive that is valid. Checks that nothing is loaded, and returns the message.
#[track_caller]
fn refused(what: &str, bytes: &[u8]) -> String {
    let program = Program::new();
    let good = program.file("good.tar", docker_archive::write(&[(&image("amd64"), &["good:v1"])], Layout::Docker25));
    let bad = program.file("bad.tar", bytes);
    let answer = program.run(["load".as_ref(), good.as_os_str(), bad.as_os_str()]);
    assert!(!answer.status.success(), "{what}: {answer}");
    assert!(!answer.stderr.contains("panicked") && answer.stderr.contains("bad.tar"), "{what}: {answer}");
    assert_eq!(program.json(["images", "--json"]), json!([]), "{what}");
    assert_eq!(program.findings(), json!([]), "{what}");
    let names: Vec<_> = fs::read_dir(program.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names.iter().all(|name| ["cache", "good.tar", "bad.tar", ".cache"].iter().any(|it| name == it)),
        "{names:?}"
    );
    answer.stderr
}

/// Returns a list of one image without names.
fn listed(config: &str, layers: &[&str]) -> Vec<u8> {
    json!([{ "Config": config, "RepoTags": null, "Layers": layers }]).to_string().into_bytes()
}

#[test]
fn parts_that_are_not_files_of_the_archive() {
    let image = image("amd64");
    let list = listed("config", &["one", "two"]);
    let with = |second: Member<'_>| {
        let first = file("one", &image.layers[0].tar);
        tar(&[file("config", &image.config), first, second, file("manifest.json", &list)])
    };
    for (what, second, part) in [
        ("a link out", (typeflag::SYMLINK, "two", &b"../../../../etc/passwd"[..]), "leads out of the archive"),
        ("an absolute link", (typeflag::SYMLINK, "two", b"/etc/passwd"), "two"),
        ("a hard link out", (typeflag::HARD_LINK, "two", b"../../etc/passwd"), "leads out of the archive"),
        ("a loop", (typeflag::SYMLINK, "two", b"two"), "links"),
        ("a pipe", (typeflag::FIFO, "two", b""), "two"),
        ("a device", (typeflag::CHAR_DEVICE, "two", b""), "two"),
        ("a directory", (typeflag::DIRECTORY, "two", b""), "two"),
        ("a missing layer", (typeflag::DIRECTORY, "other", b""), "layer two not found"),
        ("a name with ..", (typeflag::FILE, "../two", b"x"), "layer two not found"),
    ] {
        let message = refused(what, &with(second));
        assert!(message.contains(part), "{what}: {message}");
    }
    // An absolute name is one of the archive's root.
    let program = Program::new();
    let absolute = with(file("/two", &image.layers[1].tar));
    let absolute = program.file("absolute.tar", absolute);
    assert_eq!(program.ok(["load".as_ref(), absolute.as_os_str()]).trim(), image.config_digest.to_string());
}

#[test]
fn lists_that_are_not_of_images() {
    let image = image("amd64");
    let with = |list: &[u8]| tar(&[file("config", &image.config), file("manifest.json", list)]);
    for (list, part) in [
        (&b"null"[..], "manifest cannot be null"),
        (b"{}", "is not a list of images"),
        (b"[null]", "is not a list of images"),
        (b"[{}]", "is not a list of images"),
        (b"", "is not a list of images"),
        (b"[", "is not a list of images"),
    ] {
        let message = refused("a list", &with(list));
        assert!(message.contains(part), "{message}");
    }
    let message = refused("numbers of layers", &with(&listed("config", &["config"])));
    assert!(message.contains("layers length mismatch: expected 2, got 1"), "{message}");
    let message = refused("a config that is none", &with(&listed("manifest.json", &[])));
    assert!(message.contains("manifest.json"), "{message}");
    // An empty list is valid.
    let program = Program::new();
    let empty = program.file("empty.tar", with(b"[]"));
    let answer = program.run(["load".as_ref(), empty.as_os_str()]);
    assert!(answer.status.success() && answer.stderr.contains("contains no images"), "{answer}");
    // Of several members of one name, the last one counts, as when a tar is unpacked.
    let both = tar(&[
        file("config", &image.config),
        file("one", &image.layers[0].tar),
        file("two", b"another file"),
        file("two", &image.layers[1].tar),
        file("manifest.json", b"null"),
        file("manifest.json", &listed("config", &["one", "two"])),
    ]);
    let both = program.file("both.tar", both);
    assert_eq!(program.ok(["load".as_ref(), both.as_os_str()]).trim(), image.config_digest.to_string());
}

/// Returns an archive of a layout with this list and these blobs.
fn layout(index: &serde_json::Value, blobs: &[&[u8]]) -> Vec<u8> {
    let names: Vec<_> = blobs.iter().map(|blob| format!("blobs/sha256/{}", Digest::of(blob).hex())).collect();
    let index = index.to_string();
    let lists = [file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#), file("index.json", index.as_bytes())];
    tar(&names.iter().zip(blobs).map(|(name, blob)| file(name, blob)).chain(lists).collect::<Vec<_>>())
}

fn entry(media_type: &str, digest: &Digest, size: usize) -> serde_json::Value {
    json!({ "mediaType": format!("application/vnd.oci.image.{media_type}.v1+json"), "digest": digest, "size": size })
}

#[test]
fn layouts_with_missing_wrong_and_too_many_documents() {
    let image = image("amd64");
    let whole = oci_layout::archive(&[(Item::Image(&image), Some("a:1"))]);
    let top = entry("manifest", &image.manifest.digest, image.manifest.bytes.len());
    let index = json!({ "schemaVersion": 2, "manifests": [top] });
    let layers: Vec<&[u8]> = image.layers.iter().map(|layer| &layer.bytes[..]).collect();
    let message = refused("no manifest", &layout(&index, &[&image.config, layers[0], layers[1]]));
    assert!(message.contains(&image.manifest.digest.hex()), "{message}");
    let message = refused("no config", &layout(&index, &[&image.manifest.bytes, layers[0], layers[1]]));
    assert!(message.contains(&image.config_digest.hex()), "{message}");
    let message = refused("no layer", &layout(&index, &[&image.manifest.bytes, &image.config, layers[0]]));
    assert!(message.contains(&image.layers[1].digest.hex()), "{message}");
    // A layer with other bytes is named with its member, not with a file of the cache.
    let at = whole.windows(layers[1].len()).position(|bytes| bytes == layers[1]).unwrap();
    let mut wrong = whole.clone();
    wrong[at + layers[1].len() - 6] ^= 1;
    let message = refused("a wrong layer", &wrong);
    assert!(message.contains(&format!("blobs/sha256/{}", image.layers[1].digest.hex())), "{message}");
    assert!(!message.contains(".partial"), "{message}");
    // An index that claims to have itself.
    let claimed = Digest::of(b"claimed");
    let circle = json!({ "schemaVersion": 2, "manifests": [entry("index", &claimed, 100)] }).to_string();
    let mut bytes = layout(&json!({ "schemaVersion": 2, "manifests": [entry("index", &claimed, circle.len())] }), &[]);
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(tar(&[file(&format!("blobs/sha256/{}", claimed.hex()), circle.as_bytes())]));
    let message = refused("a circle", &bytes);
    assert!(message.contains(&claimed.hex()), "{message}");
    // More entries than the limit, in the list and below it. The latter has short entries, so that it is small enough.
    let many: Vec<_> = (0..100_000).map(|_| top.clone()).collect();
    let message = refused("a long list", &layout(&json!({ "schemaVersion": 2, "manifests": many }), &[]));
    assert!(message.contains("index.json") && message.contains("limit"), "{message}");
    let short = |number: u32| json!({ "digest": Digest::of(&number.to_le_bytes()), "size": 1 });
    let nested = json!({ "schemaVersion": 2, "manifests": (0..5000).map(short).collect::<Vec<_>>() }).to_string();
    let digest = Digest::of(nested.as_bytes());
    let list = json!({ "schemaVersion": 2, "manifests": [entry("index", &digest, nested.len())] });
    let message = refused("a long index", &layout(&list, &[nested.as_bytes()]));
    assert!(message.contains("4096") && message.contains("DOCUMENTS"), "{message}");
}

#[test]
fn lists_of_gigabytes_are_not_read() {
    for name in ["manifest.json", "index.json", "oci-layout"] {
        let program = Program::new();
        let path = program.path("bad.tar");
        let header = Header::new(Magic::Gnu, typeflag::FILE).name(name.as_bytes()).size(6 << 30);
        let mut bytes = TarBuilder::new();
        if name != "oci-layout" {
            bytes.entry(
                Header::new(Magic::Gnu, typeflag::FILE).name(b"oci-layout"),
                br#"{"imageLayoutVersion":"1.0.0"}"#,
            );
        }
        bytes.header(&header);
        fs::write(&path, bytes.finish_unterminated()).unwrap();
        let opened = File::options().write(true).open(&path).unwrap();
        opened.set_len(fs::metadata(&path).unwrap().len() + (6 << 30) + 1024).unwrap();
        let answer = program.run(["load".as_ref(), path.as_os_str()]);
        assert!(!answer.status.success() && answer.stderr.contains("limit"), "{answer}");
        assert!(answer.stderr.contains(name) && answer.stderr.contains("bad.tar"), "{answer}");
    }
}

#[test]
fn truncated_and_damaged_archives_in_every_compression() {
    let image = noisy(1, 20_000);
    let docker = docker_archive::write(&[(&image, &["bad:v1"])], Layout::Docker24);
    let oci = oci_layout::archive(&[(Item::Image(&image), Some("bad:v1"))]);
    for plain in [docker, oci] {
        for compression in Compression::ALL {
            let whole = compression.compress(&plain);
            for length in [whole.len() / 3, whole.len() / 2] {
                refused(&format!("{compression:?} up to {length}"), &whole[..length]);
            }
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 0x55;
            refused(&format!("{compression:?} with another byte"), &damaged);
        }
    }
}

#[test]
fn a_full_disk_loads_nothing() {
    if skip::needs_root() {
        return;
    }
    let images: [Image; 2] = [noisy(2, 300_000), noisy(3, 500_000)];
    let program = Program::new();
    let archive = docker_archive::write(&[(&images[0], &["one:v1"]), (&images[1], &["two:v1"])], Layout::Docker25);
    let archive = program.file("images.tar", archive);
    for size in ["300k", "900k", "1500k", "2500k", "4m"] {
        let disk = Disk::in_memory(size);
        let small = Program::new().with_cache(disk.path().join("cache"));
        let answer = small.run(["load".as_ref(), archive.as_os_str()]);
        assert!(!answer.status.success() && answer.stderr.contains("No space left on device"), "{size}: {answer}");
        assert_eq!(small.json(["images", "--json"]), json!([]), "{size}");
        assert_eq!(small.findings(), json!([]), "{size}");
    }
    // The archive may be larger than the disk that it is saved to.
    program.ok(["load".as_ref(), archive.as_os_str()]);
    let disk = Disk::in_memory("1m");
    for format in ["docker-archive", "docker-archive-v24", "oci-archive"] {
        let out = disk.path().join("out.tar");
        let answer = program.run(["save", "one:v1", "two:v1", "--format", format, "-o", out.to_str().unwrap()]);
        assert!(!answer.status.success() && answer.stderr.contains("No space left on device"), "{format}: {answer}");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "{format}");
    }
}
