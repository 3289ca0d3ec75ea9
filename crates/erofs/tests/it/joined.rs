//! The metadata-only image as one disk.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_erofs::{ErofsMeta, ErofsMetaOptions, Error, VmdkAccess, export_erofs_meta};
use vmroot_test_roots::Root;
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use super::fixture::{cannot_mount, listing, meta, run};

fn root() -> Root {
    Root::of(&[
        Layer::new([Entry::file("lower", noise(1, 50_000)), Entry::file("small", "a few bytes")]),
        Layer::new([Entry::directory("without contents"), Entry::symlink("link", "x".repeat(4095))]),
        Layer::new([Entry::file("upper", noise(2, 4096)), Entry::file("lower2", noise(3, 5000))]),
    ])
}

/// Writes the first part and the devices to one file.
fn concatenated(root: &Root, first: &[u8], meta: &ErofsMeta) -> PathBuf {
    let mut bytes = first.to_vec();
    for device in &meta.devices {
        bytes.extend(fs::read(&device.path).unwrap());
    }
    let path = root.files().join("joined");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn devices_are_the_layers_with_contents_in_order() {
    let root = root();
    let (path, meta) = meta(&root);
    let contents: Vec<_> = root.fs.contents().filter(|contents| contents.length > 0).collect();
    assert_eq!((contents.len(), meta.devices.len()), (2, 2));
    assert_eq!(fs::metadata(&path).unwrap().len(), u64::from(meta.blocks) * 4096);
    let image = fs::read(path).unwrap();
    let mut end = meta.blocks;
    for (number, (device, contents)) in meta.devices.iter().zip(&contents).enumerate() {
        assert_eq!((&device.path, device.diff_id, device.mapped_block), (&contents.path, contents.diff_id, end));
        assert_eq!(&image[1152 + 128 * number..][..64], contents.diff_id.hex().as_bytes());
        end += device.blocks;
    }
    assert_eq!(meta.total_blocks, end);
    let list = String::from_utf8(meta.device_list().unwrap()).unwrap();
    let paths: Vec<_> = contents.iter().map(|contents| contents.path.to_str().unwrap()).collect();
    assert_eq!(list.lines().collect::<Vec<_>>(), paths);
}

/// From Linux 6.4 on, a device table without `device=` options means that the devices follow on the same disk.
#[test]
fn metadata_and_devices_concatenated_are_one_disk() {
    if cannot_mount() {
        return;
    }
    let root = root();
    let (path, meta) = meta(&root);
    let joined = concatenated(&root, &fs::read(path).unwrap(), &meta);
    root.expected().assert_same(&listing(&joined, &[]));
}

/// The replacement block is for older kernels, and for tools that do not support devices.
#[test]
fn the_replacement_block_has_no_device_table() {
    let root = root();
    let (path, meta) = meta(&root);
    let mut image = fs::read(path).unwrap();
    image[..4096].copy_from_slice(&meta.head[..]);
    assert_eq!(image[1024 + 80] & 8, 0);
    let joined = concatenated(&root, &image, &meta);
    if !skip::needs_program("fsck.erofs") {
        run(Command::new("fsck.erofs").arg(&joined));
    }
    if !cannot_mount() {
        root.expected().assert_same(&listing(&joined, &[]));
    }
}

#[test]
fn qemu_reads_the_vmdk_descriptor() {
    if skip::needs_program("qemu-img") {
        return;
    }
    let root = root();
    let (path, meta) = meta(&root);
    let head = File::create(root.files().join("meta.head")).unwrap();
    meta.write_head(&File::open(path).unwrap(), &head).unwrap();
    let descriptor = root.files().join("meta.vmdk");
    fs::write(&descriptor, meta.vmdk(Path::new("meta.head"), VmdkAccess::ReadWrite).unwrap()).unwrap();
    let raw = root.files().join("raw");
    run(Command::new("qemu-img").args(["convert", "-f", "vmdk", "-O", "raw"]).args([&descriptor, &raw]));
    assert_eq!(fs::metadata(&raw).unwrap().len(), u64::from(meta.total_blocks) * 4096);
    if !cannot_mount() {
        root.expected().assert_same(&listing(&raw, &[]));
    }
}

#[test]
fn an_export_has_its_descriptors_and_copies_beside_it() {
    let root = root();
    let (written, meta) = meta(&root);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.erofs");
    let copied = [meta.devices[1].diff_id];
    let stop = |_| ControlFlow::Break(());
    let options = ErofsMetaOptions { copied: &copied, ..ErofsMetaOptions::default() };
    let stopped = export_erofs_meta(
        &root.fs,
        &path,
        &ErofsMetaOptions { hook: Some(vmroot_output::Hook::new(&stop)), ..options },
    );
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left of a cancelled export");

    let report = export_erofs_meta(&root.fs, &path, &options).unwrap();
    let copy = format!(".{}.contents", copied[0].hex());
    let beside = |suffix: &str| directory.path().join(format!("root.erofs{suffix}"));
    let suffixes = [&copy, ".head", ".devices", ".vmdk", ".rdonly.vmdk"];
    assert_eq!(report.files, suffixes.map(&beside));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1 + suffixes.len());
    let image = fs::read(&path).unwrap();
    assert!(report.bytes == image.len() as u64 && image == fs::read(written).unwrap());
    let mut head = image;
    head[..4096].copy_from_slice(&meta.head[..]);
    assert!(fs::read(beside(".head")).unwrap() == head);
    assert!(fs::read(beside(&copy)).unwrap() == fs::read(&meta.devices[1].path).unwrap());
    let devices = fs::read_to_string(beside(".devices")).unwrap();
    assert_eq!(devices.lines().map(Path::new).collect::<Vec<_>>(), [&*meta.devices[0].path, &*beside(&copy)]);
    for (suffix, access) in [(".vmdk", "RW"), (".rdonly.vmdk", "RDONLY")] {
        let descriptor = fs::read_to_string(beside(suffix)).unwrap();
        assert!(
            descriptor.contains(&format!("\n{access} {} FLAT \"root.erofs.head\"", meta.blocks * 8)),
            "{descriptor}"
        );
    }
}

#[test]
fn the_descriptor_rejects_paths_it_cannot_contain() {
    let root = root();
    let (_, mut meta) = meta(&root);
    let vmdk = |head: &str| meta.vmdk(Path::new(head), VmdkAccess::ReadOnly);
    assert!(vmdk("a\"b").unwrap_err().full_message().contains("a\"b"));
    assert!(vmdk(&"x".repeat(511)).is_ok() && vmdk(&"x".repeat(512)).is_err());
    meta.devices[0].path = "/with\nbreak".into();
    assert!(meta.device_list().is_err());
}

#[test]
fn a_root_without_contents_has_no_devices() {
    if cannot_mount() {
        return;
    }
    let root = Root::of_entries([Entry::directory("d"), Entry::symlink("l", "d")]);
    let (path, meta) = meta(&root);
    assert!(meta.devices.is_empty() && File::open(&path).is_ok());
    root.expected().assert_same(&listing(&path, &[]));
}
