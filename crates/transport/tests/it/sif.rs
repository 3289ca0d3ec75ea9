//! Images of Singularity. The files are made by hand around squashfs images of mksquashfs.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_model::{Descriptor, Digest};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::skip;
use vmroot_transport::{ArchiveOptions, Error, ImageSource, open_sif};

use crate::pull::options;

/// The length of the header and of one descriptor in bytes.
const HEADER: usize = 128;
const DESCRIPTOR: usize = 585;

const DEFINITION: &str = "Bootstrap: scratch\n%environment\nexport A=1\n%runscript\necho $A\n";

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a descriptor of an object.
fn descriptor(kind: u32, offset: usize, size: usize, extra: &[u8]) -> Vec<u8> {
    let mut bytes = [&kind.to_le_bytes()[..], &[1], &[0; 12]].concat();
    bytes.extend((offset as u64).to_le_bytes());
    bytes.extend((size as u64).to_le_bytes());
    bytes.resize(201, 0);
    bytes.extend(extra);
    bytes.resize(DESCRIPTOR, 0);
    bytes
}

/// Returns a SIF file with a definition file and a squashfs.
fn sif(definition: &[u8], squashfs: &[u8]) -> Vec<u8> {
    let mut bytes = b"#!/usr/bin/env run-singularity\n".to_vec();
    bytes.resize(32, 0);
    bytes.extend(b"SIF_MAGIC\x0001\x0004\x00");
    bytes.extend(1..=16u8);
    let data = HEADER + 3 * DESCRIPTOR;
    for number in [1_000_000_000u64, 1_100_000_000, 0, 3, HEADER as u64, 3 * DESCRIPTOR as u64, data as u64, 0] {
        bytes.extend(number.to_le_bytes());
    }
    assert_eq!(bytes.len(), HEADER);
    let extra = [&1u32.to_le_bytes()[..], &2u32.to_le_bytes(), b"04\0"].concat();
    let mut unused = descriptor(0x4004, 1 << 60, 1, &extra);
    unused[4] = 0;
    bytes.extend(unused);
    bytes.extend(descriptor(0x4001, data, definition.len(), b""));
    bytes.extend(descriptor(0x4004, data + definition.len(), squashfs.len(), &extra));
    bytes.extend(definition);
    bytes.extend(squashfs);
    bytes
}

/// A temporary directory with a tree of files.
struct Source {
    directory: TempDir,
}

impl Source {
    /// Creates files of all types, if the user is root.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("etc/empty")).unwrap();
        fs::create_dir(root.join(format!("long-{}", "n".repeat(200)))).unwrap();
        fs::write(root.join("etc/small"), "small").unwrap();
        fs::write(root.join("etc/none"), "").unwrap();
        // Several blocks and a fragment, and a file of whole blocks.
        let varied: Vec<u8> = (0..700_003u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
        fs::write(root.join("etc/large"), &varied).unwrap();
        fs::write(root.join("etc/whole"), &varied[..262_144]).unwrap();
        let sparse = File::create(root.join("sparse")).unwrap();
        sparse.set_len(3_000_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 2_999_000).unwrap();
        fs::hard_link(root.join("etc/large"), root.join("hard")).unwrap();
        symlink("etc/large", root.join("link")).unwrap();
        symlink("t".repeat(150), root.join("etc/long-link")).unwrap();
        for number in 0..600 {
            fs::write(root.join(format!("etc/empty/many-{number}")), number.to_string()).unwrap();
        }
        fs::set_permissions(root.join("etc/small"), Permissions::from_mode(0o6755)).unwrap();
        Self { directory }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds the entries that only root can create.
    fn add_special_files(&self) {
        let root = self.at("root");
        for (kind, name, device) in [
            (FileType::CharacterDevice, "null", rustix::fs::makedev(1, 3)),
            (FileType::BlockDevice, "block", rustix::fs::makedev(4000, 70_000)),
            (FileType::Fifo, "fifo", 0),
        ] {
            mknodat(CWD, root.join(name), kind, Mode::RUSR, device).unwrap();
        }
        chown(root.join("etc/small"), Some(3_000_000_000), Some(70_000)).unwrap();
        fs::set_permissions(root.join("etc/small"), Permissions::from_mode(0o4711)).unwrap();
        for (name, value) in [("user.one", &b"1"[..]), ("trusted.two", b"\0\xff"), ("security.three", &[7; 600])] {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(root.join("etc/small"), name, value, flags).unwrap();
            rustix::fs::setxattr(root.join("etc/whole"), name, value, flags).unwrap();
        }
    }

    fn squashfs(&self, arguments: &[&str]) -> Vec<u8> {
        let image = self.at("squashfs");
        let mut mksquashfs = Command::new("mksquashfs");
        run(mksquashfs.arg(self.at("root")).arg(&image).args(["-noappend", "-no-progress", "-quiet"]).args(arguments));
        fs::read(image).unwrap()
    }

    fn open(&self, bytes: &[u8]) -> Result<Box<dyn ImageSource>, Error> {
        open_with(self.directory.path(), bytes, &options(self.directory.path()))
    }
}

fn open_with(directory: &Path, bytes: &[u8], options: &ArchiveOptions) -> Result<Box<dyn ImageSource>, Error> {
    let path = directory.join("image.sif");
    fs::write(&path, bytes).unwrap();
    open_sif(&path, options)
}

fn blob(source: &dyn ImageSource, descriptor: &Value) -> Vec<u8> {
    let descriptor: Descriptor = serde_json::from_value(descriptor.clone()).unwrap();
    let mut bytes = Vec::new();
    source.blob(&descriptor, 0).unwrap().reader.read_to_end(&mut bytes).unwrap();
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (descriptor.digest, descriptor.size));
    bytes
}

/// Returns the config and the layer.
fn parts(source: &dyn ImageSource) -> (Value, Vec<u8>) {
    let manifest: Value = serde_json::from_slice(&source.manifest(None).unwrap().bytes).unwrap();
    (serde_json::from_slice(&blob(source, &manifest["config"])).unwrap(), blob(source, &manifest["layers"][0]))
}

#[test]
fn the_layer_has_the_files_of_the_squashfs() {
    if skip::needs_root() || skip::needs_program("mksquashfs") || skip::needs_program("tar") {
        return;
    }
    let source = Source::new();
    source.add_special_files();
    let original = Listing::of_directory(source.at("root")).unwrap();
    for arguments in [
        &["-comp", "gzip"][..],
        &["-comp", "zstd", "-b", "1M"],
        &["-comp", "xz", "-b", "4096"],
        &["-comp", "gzip", "-no-fragments", "-noI", "-noD"],
        &["-comp", "gzip", "-always-use-fragments", "-no-sparse", "-noF", "-noX"],
    ] {
        let image = source.open(&sif(b"", &source.squashfs(arguments))).unwrap();
        let (_, layer) = parts(&*image);
        let unpacked = source.at("unpacked");
        fs::create_dir(&unpacked).unwrap();
        fs::write(source.at("layer.tar"), layer).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "-xpf"]);
        run(tar.arg(source.at("layer.tar")).arg("-C").arg(&unpacked));
        // squashfs has whole seconds.
        let mut wanted = original.clone();
        wanted.rows.values_mut().for_each(|row| row.mtime -= row.mtime.rem_euclid(1_000_000_000));
        wanted.assert_same(&Listing::of_directory(&unpacked).unwrap());
        fs::remove_dir_all(unpacked).unwrap();
    }
}

#[test]
fn the_definition_becomes_the_command() {
    if skip::needs_program("mksquashfs") {
        return;
    }
    let source = Source::new();
    let squashfs = source.squashfs(&[]);
    let image = source.open(&sif(DEFINITION.as_bytes(), &squashfs)).unwrap();
    assert_eq!(image.name(), format!("sif:{}", source.at("image.sif").display()));
    let (config, layer) = parts(&*image);
    assert_eq!(config["config"], json!({ "Cmd": ["/podman/runscript"] }));
    assert_eq!((&config["architecture"], &config["os"]), (&json!("arm64"), &json!("linux")));
    assert_eq!(config["created"], "2004-11-09T11:33:20Z");
    assert_eq!(config["rootfs"]["diff_ids"], json!([Digest::of(&layer)]));
    let uuid = "01020304-0506-0708-090a-0b0c0d0e0f10";
    assert_eq!(config["history"][0]["comment"], format!("imported from SIF, uuid: {uuid}"));
    assert_eq!(config["history"][1]["empty_layer"], true);
    let mut archive = tar::Archive::new(&layer[..]);
    let mut last = None;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        if entry.path_bytes().starts_with(b"./podman") && entry.read_to_string(&mut text).is_ok() {
            last = Some((entry.path_bytes().into_owned(), entry.header().mode().unwrap(), text));
        }
    }
    let script = "#!/bin/bash\nexport A=1\necho $A\n".to_owned();
    assert_eq!(last, Some((b"./podman/runscript".to_vec(), 0o755, script)));
    // Equal files have equal images.
    let digest = |image: &dyn ImageSource| Digest::of(&image.manifest(None).unwrap().bytes);
    assert_eq!(digest(&*image), digest(&*source.open(&sif(DEFINITION.as_bytes(), &squashfs)).unwrap()));
    let (config, _) = parts(&*source.open(&sif(b"", &squashfs)).unwrap());
    assert_eq!(config["config"], json!({ "Cmd": ["bash"] }));
}

#[test]
fn broken_headers_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let open = |bytes: &[u8]| open_with(directory.path(), bytes, &options).unwrap_err().to_string();
    let valid = sif(DEFINITION.as_bytes(), &[0; 96]);
    assert!(open(&valid).contains("is not a squashfs"));
    let root = HEADER + 2 * DESCRIPTOR;
    for (at, bytes, reason) in [
        (33, &b"x"[..], "it has no SIF header"),
        (43, b"2", "its version is not 01"),
        (88, &u64::MAX.to_le_bytes(), "the number of descriptors exceeds"),
        (96, &u64::MAX.to_le_bytes(), "the descriptors"),
        (root, &[5], "it has no root file system"),
        (root + 4, &[0], "it has no root file system"),
        (root + 17, &u64::MAX.to_le_bytes(), "the root file system in"),
        (root + 25, &97u64.to_le_bytes(), "the root file system in"),
        (root + 201, &[5], "is encrypted"),
        (root + 201, &[2], "has type 2"),
        (HEADER + DESCRIPTOR + 25, &(1u64 << 40).to_le_bytes(), "the definition file in"),
    ] {
        let mut damaged = valid.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        let error = open(&damaged);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    for len in [0, 50, HEADER - 1, HEADER, HEADER + DESCRIPTOR, valid.len() - 1] {
        open(&valid[..len]);
    }
    let long = sif(&vec![b'\n'; (1 << 20) + 1], &[0; 96]);
    assert!(matches!(open_with(directory.path(), &long, &options).unwrap_err(), Error::MemberTooLarge { .. }));
}

/// Each byte of a small squashfs is changed. The result is an image or an error, in bounded time and memory.
#[test]
fn damaged_squashfs_images_are_errors() {
    if skip::needs_program("mksquashfs") {
        return;
    }
    let source = Source::new();
    fs::remove_dir_all(source.at("root")).unwrap();
    fs::create_dir_all(source.at("root/a/b")).unwrap();
    fs::write(source.at("root/a/b/file"), vec![b'x'; 9000]).unwrap();
    fs::write(source.at("root/a/other"), "other").unwrap();
    symlink("a/b", source.at("root/link")).unwrap();
    // Metadata that is not compressed is damaged more thoroughly.
    let squashfs = source.squashfs(&["-noI", "-noD", "-noF", "-noId", "-b", "4096", "-no-exports"]);
    let end = squashfs.len() - squashfs.iter().rev().take_while(|byte| **byte == 0).count();
    let mut limited = options(source.directory.path());
    limited.limits.max_output = 64 << 20;
    let mut errors = 0;
    let metadata = (0..96).chain(end.saturating_sub(1500)..end);
    for at in metadata {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = squashfs.clone();
            damaged[at] ^= change;
            match open_with(source.directory.path(), &sif(b"", &damaged), &limited) {
                Ok(image) => drop(parts(&*image)),
                Err(Error::Member { .. } | Error::ArchiveLimit { .. }) => errors += 1,
                Err(error) => panic!("byte {at} ^ {change:#x}: {error:?}"),
            }
        }
    }
    assert!(errors > 500, "{errors}");
    for len in (0..end).step_by(97) {
        let truncated = open_with(source.directory.path(), &sif(b"", &squashfs[..len]), &limited);
        assert!(matches!(truncated.unwrap_err(), Error::Member { .. }), "{len}");
    }
    fs::write(source.at("root/.wh.x"), "").unwrap();
    let error = source.open(&sif(b"", &source.squashfs(&[]))).unwrap_err().to_string();
    assert!(error.contains("./.wh.x, and a layer cannot have"), "{error}");
    fs::remove_file(source.at("root/.wh.x")).unwrap();
    let error = source.open(&sif(b"", &source.squashfs(&["-comp", "lzo"]))).unwrap_err().to_string();
    assert!(error.contains("lzo, which is not supported"), "{error}");
}
