//! Tests with the modules of a real kernel, and with generated module trees.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vmroot_boot::{Error, Kernel, ModuleTree};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::guest::Guest;

/// Returns the modules of a test guest's kernel, or `None` if guests cannot be booted.
#[track_caller]
fn debian() -> Option<ModuleTree> {
    let guest = Guest::of("amd64")?;
    let kernel = Kernel::open(&guest.kernel()).unwrap();
    Some(ModuleTree::open(&guest.modules(), kernel.version.as_deref()).unwrap())
}

fn names(tree: &ModuleTree, wanted: &[&str]) -> Vec<String> {
    tree.resolve(wanted).unwrap().into_iter().map(|module| module.name).collect()
}

#[test]
fn debian_modules_follow_their_dependencies() {
    let Some(tree) = debian() else { return };
    let names = names(&tree, &["virtio_pci", "virtio_blk", "erofs", "ext4", "virtiofs"]);
    let place = |name: &str| names.iter().position(|other| other == name);
    for (first, then) in [
        ("virtio_ring", "virtio_pci"),
        ("virtio_pci_modern_dev", "virtio_pci"),
        ("libcrc32c", "erofs"),
        ("fuse", "virtiofs"),
    ] {
        assert!(place(first).unwrap() < place(then).unwrap(), "{names:?}");
    }
    // ext4 is built in.
    assert_eq!((place("ext4"), tree.is_builtin("ext4")), (None, true));
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
}

#[test]
fn a_tree_is_found_from_above() {
    let Some(tree) = debian() else { return };
    for above in tree.directory().ancestors().take(4).filter(|above| !above.ends_with("lib")) {
        for version in [None, tree.version()] {
            assert_eq!(ModuleTree::open(above, version).unwrap().directory(), tree.directory());
        }
    }
}

#[test]
fn a_missing_module_is_named() {
    let Some(tree) = debian() else { return };
    let error = tree.resolve(&["no-such-fs"]).unwrap_err().full_message();
    assert!(error.starts_with("the kernel has no module no_such_fs, neither built in nor in /"), "{error}");
}

/// A tree with one module `a` that depends on `b`, and has soft dependencies on `c` and `d`.
struct ModuleFiles(TempDir);

impl ModuleFiles {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.file("modules.builtin", b"kernel/lib/built-in.ko\n");
        files
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("lib/modules/1.0").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, version: &str) -> Result<ModuleTree, Error> {
        ModuleTree::open(self.0.path(), Some(version))
    }
}

/// Returns a minimal ELF file with this `.modinfo`.
fn module(modinfo: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.names\0";
    let mut elf = vec![0; 64];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let at = elf.len() + names.len();
    elf.extend_from_slice(names);
    elf.extend_from_slice(modinfo.as_bytes());
    let headers = elf.len();
    for (name, offset, size) in [(1_u32, at, modinfo.len()), (10, 64, names.len())] {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        elf.extend_from_slice(&header);
    }
    elf[40..48].copy_from_slice(&(headers as u64).to_le_bytes());
    elf[58..64].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
    elf
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_modules_are_decompressed() {
    let files = ModuleFiles::new();
    let (a, b) = (module("depends=b,built_in\0softdep=pre: c-c d\0vermagic=1.0 SMP\0"), module("depends=\0"));
    files.file("kernel/fs/a.ko.xz", &xz(&a));
    files.file("kernel/lib/b.ko.zst", &zstd::encode_all(&b[..], 1).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&b).unwrap();
    files.file("extra/c-c.ko.gz", &gzip.finish().unwrap());
    let modules = files.open("1.0").unwrap().resolve(&["a"]).unwrap();
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["c_c", "b", "a"]);
    assert!(modules[0].bytes == b && modules[1].bytes == b && modules[2].bytes == a);
}

#[test]
fn dependents_of_a_missing_module_are_named() {
    let files = ModuleFiles::new();
    files.file("kernel/a.ko", &module("depends=b\0"));
    files.file("kernel/b.ko", &module("depends=missing\0"));
    let error = files.open("1.0").unwrap().resolve(&["a"]).unwrap_err().full_message();
    assert!(error.contains(" no module missing, ") && error.ends_with(", which b needs, which a needs"), "{error}");
}

#[test]
fn cyclic_dependencies_terminate() {
    let files = ModuleFiles::new();
    files.file("kernel/a.ko", &module("depends=b\0"));
    files.file("kernel/b.ko", &module("depends=a\0"));
    assert_eq!(names(&files.open("1.0").unwrap(), &["a"]), ["b", "a"]);
}

#[test]
fn an_updated_module_takes_precedence() {
    let files = ModuleFiles::new();
    files.file("kernel/a.ko", b"not this one");
    let updated = files.file("updates/dkms/a.ko", &module("depends=\0"));
    assert_eq!(files.open("1.0").unwrap().resolve(&["a"]).unwrap()[0].path, updated);
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let files = ModuleFiles::new();
    let path = files.file("kernel/a.ko", &module("depends=\0vermagic=2.0 SMP\0"));
    let error = files.open("1.0").unwrap().resolve(&["a"]).unwrap_err();
    assert_eq!(error.full_message(), format!("{}: for Linux 2.0, but the kernel is 1.0", path.display()));
    let error = files.open("3.0").unwrap_err();
    assert_eq!(error.full_message(), format!("{}: no modules of 3.0", files.0.path().display()));
}

#[test]
fn without_a_version_there_must_be_one_tree() {
    let files = ModuleFiles::new();
    assert!(ModuleTree::open(files.0.path(), None).is_ok());
    fs::create_dir_all(files.0.path().join("lib/modules/2.0/kernel")).unwrap();
    let error = ModuleTree::open(files.0.path(), None).unwrap_err().full_message();
    assert!(error.contains("has modules of several kernels (1.0, 2.0)"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    for version in [None, Some("1.0")] {
        assert!(matches!(ModuleTree::open(empty.path(), version), Err(Error::NoModules { .. })));
    }
    let error = ModuleTree::open(Path::new("/no/modules"), None).unwrap_err();
    let is_missing = matches!(&error, Error::Io(error) if error.source.kind() == std::io::ErrorKind::NotFound);
    assert!(is_missing && error.full_message().contains("/no/modules"), "{error}");
}

#[test]
fn files_that_are_not_modules_are_refused() {
    let files = ModuleFiles::new();
    for (bytes, reason) in [
        (b"#!/bin/sh".to_vec(), "not an ELF file of 64 bits, little endian"),
        (module("")[..70].to_vec(), "it has no section .modinfo, or is truncated"),
    ] {
        let path = files.file("kernel/a.ko", &bytes);
        let error = files.open("1.0").unwrap().resolve(&["a"]).unwrap_err();
        assert_eq!(error.full_message(), format!("{}: not a kernel module: {reason}", path.display()));
    }
    files.file("kernel/a.ko", &xz(b"x")[..20]);
    let error = files.open("1.0").unwrap().resolve(&["a"]).unwrap_err();
    assert!(matches!(error, Error::Compressed { .. }), "{error}");
}
