//! Sizes of file systems, their free room, and growing them.

use std::fs;
use std::process::Command;

use vmroot_ext4::{Error, Ext4Options, write_ext4};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::mounted::{loop_device, run};
use vmroot_testkit::skip;

use super::image::{Image, expected, needs_e2fsprogs, root_of};

fn layers() -> [Layer; 1] {
    [Layer::new((0..300).map(|number| Entry::file(format!("{}/{number}", number % 7), vec![1; number * 100])))]
}

#[test]
fn the_smallest_size_has_no_free_blocks() {
    if needs_e2fsprogs() {
        return;
    }
    let root = root_of(&layers());
    let smallest = Image::of_root(&root.fs, &Ext4Options::default()).unwrap();
    smallest.check();
    assert_eq!(smallest.number("Free blocks"), 0);
    assert_eq!(fs::metadata(&smallest.path).unwrap().len(), smallest.report.bytes);

    // The smallest size works as a fixed size. One byte less is too small, and the error contains the size that is
    // needed.
    let of_size = |size| Image::of_root(&root.fs, &Ext4Options { size: Some(size), ..Ext4Options::default() });
    let exact = of_size(smallest.report.bytes).unwrap();
    exact.check();
    assert_eq!(exact.report.bytes, smallest.report.bytes);
    let error = of_size(smallest.report.bytes - 1).err().unwrap();
    let size = smallest.report.bytes;
    assert!(matches!(error, Error::TooSmall { size: asked, needed } if asked == size - 1 && needed == size), "{error}");
    assert!(matches!(of_size(0).err().unwrap(), Error::TooSmall { needed, .. } if needed == size));
}

#[test]
fn a_fixed_size_is_exact_and_has_inodes_for_its_room() {
    if needs_e2fsprogs() {
        return;
    }
    let root = root_of(&layers());
    for size in [64 << 20, (128 << 20) + 4096, (128 << 20) + 12_345, 1 << 30, (4 << 30) + (3 << 20), 300 << 30] {
        let image = Image::of_root(&root.fs, &Ext4Options { size: Some(size), ..Ext4Options::default() }).unwrap();
        image.check();
        assert_eq!(fs::metadata(&image.path).unwrap().len(), size);
        assert_eq!(image.report.bytes, size);
        let lost = size - image.number("Block count") * 4096;
        assert!(lost < 8192 * 4, "{size}: {lost} bytes are left over");
        let (free, inodes) = (image.number("Free blocks") * 4096, image.number("Inode count"));
        assert!(image.number("Free inodes") >= free / (17 << 10), "{free} bytes are free");
        assert!(inodes < 300 + 1000 * (1 + size / (128 << 20)) + size / (12 << 10), "{inodes} inodes");
        assert!(image.allocated() < (16 << 20), "{} bytes on disk", image.allocated());
    }
}

#[test]
fn df_shows_at_least_the_requested_free_bytes() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    let root = root_of(&layers());
    for free in [1, 5 << 20, 100 << 20, 512 << 20, 3 << 30] {
        for journal in [false, true] {
            let image = Image::of_root(&root.fs, &Ext4Options { free, journal, ..Ext4Options::default() }).unwrap();
            image.check();
            let mounted = image.mount("rw");
            let shown = rustix::fs::statvfs(mounted.path()).unwrap();
            let available = shown.f_bavail * shown.f_frsize;
            assert!(available >= free, "{available} of {free}");
            assert!(available < free + free / 100 + (1 << 20), "{available} of {free}");
            assert!(shown.f_favail >= free / (16 << 10), "{} inodes for {free}", shown.f_favail);
        }
    }
}

#[test]
fn a_fixed_size_with_free_room_has_both_or_is_an_error() {
    if needs_e2fsprogs() {
        return;
    }
    let root = root_of(&layers());
    let both = |size, free| Image::of_root(&root.fs, &Ext4Options { size: Some(size), free, ..Ext4Options::default() });
    assert!(both(200 << 20, 100 << 20).unwrap().number("Free blocks") * 4096 >= 100 << 20);
    let Err(Error::TooSmall { needed, .. }) = both(100 << 20, 100 << 20) else { panic!("there is no room") };
    assert!(both(needed, 100 << 20).is_ok());
}

#[test]
fn the_journal_has_the_size_that_mke2fs_gives_it() {
    if needs_e2fsprogs() {
        return;
    }
    for (size, journal) in [(None, "4096k"), (Some(1 << 30), "32M"), (Some(8 << 30), "64M")] {
        let image = Image::of(&layers(), &Ext4Options { size, journal: true, ..Ext4Options::default() });
        image.check();
        assert_eq!(image.superblock("Total journal size"), journal);
        assert_eq!(image.superblock("Journal inode"), "8");
    }
}

#[test]
fn resize2fs_grows_images() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    for journal in [false, true] {
        let image = Image::of(&layers(), &Ext4Options { journal, ..Ext4Options::default() });
        run(Command::new("resize2fs").arg(&image.path).arg("20G"));
        image.check();
        let mounted = image.mount("rw");
        expected(&layers()).assert_same(&Listing::of_directory(mounted.path()).unwrap());
        assert!(rustix::fs::statvfs(mounted.path()).unwrap().f_blocks > 19 << 18);
    }
}

#[test]
fn a_label_has_at_most_sixteen_bytes() {
    if needs_e2fsprogs() {
        return;
    }
    let labelled = |label| Image::of_root(&root_of(&layers()).fs, &Ext4Options { label, ..Ext4Options::default() });
    assert_eq!(labelled("sixteen bytes ok").unwrap().superblock("Filesystem volume name"), "sixteen bytes ok");
    let error = labelled("seventeen bytes !").err().unwrap();
    assert_eq!(error.to_string(), "the label has 17 bytes; ext4 holds at most 16");
}

#[test]
fn a_device_with_old_bytes_is_overwritten() {
    if needs_e2fsprogs() || skip::needs_root() || skip::needs_program("losetup") {
        return;
    }
    let root = root_of(&layers());
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    fs::write(&disk, vec![0xaa; 40 << 20]).unwrap();
    let device = loop_device(&disk);
    let file = fs::File::options().write(true).open(device.path()).unwrap();
    let options = Ext4Options { journal: true, ..Ext4Options::default() };
    let report = write_ext4(&root.fs, &file, &options).unwrap();
    file.sync_all().unwrap();
    let expected = Image::of_root(&root.fs, &options).unwrap();
    assert!(fs::read(&expected.path).unwrap() == fs::read(&disk).unwrap()[..report.bytes as usize]);
    let error = write_ext4(&root.fs, &file, &Ext4Options { size: Some(41 << 20), ..options }).unwrap_err();
    assert!(matches!(error, Error::TooSmall { size, .. } if size == 40 << 20), "{error}");
}
