//! Growth of disks of vmroot and of mke2fs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

use vmroot_ext4::{CreateOptions, Error, GrowthRefusal, grow_ext4};
use vmroot_testkit::mounted::run;
use vmroot_testkit::skip;

use super::image::{Image, needs_e2fsprogs};

const MEBI: u64 = 1 << 20;
const GIBI: u64 = 1 << 30;

fn open(image: &Image) -> File {
    File::options().read(true).write(true).open(&image.path).unwrap()
}

fn content() -> Vec<u8> {
    (0..60_000_u32).flat_map(u32::to_be_bytes).collect()
}

/// Writes a file with debugfs.
fn fill(image: &Image) {
    let data = image.path.with_extension("data");
    fs::write(&data, content()).unwrap();
    run(Command::new("debugfs").args(["-w", "-R", &format!("write {} kept", data.display())]).arg(&image.path));
}

fn assert_kept(image: &Image) {
    let found = Command::new("debugfs").args(["-R", "cat kept"]).arg(&image.path).output().unwrap();
    assert!(found.stdout == content());
}

/// Mounts the image, reads the file and writes another one.
fn use_with_kernel(image: &Image, name: &str) {
    if skip::needs_root() {
        return;
    }
    let mounted = image.mount("rw");
    assert!(fs::read(mounted.path().join("kept")).unwrap() == content());
    fs::write(mounted.path().join(name), vec![1; 300_000]).unwrap();
    drop(mounted);
    image.check();
}

#[test]
fn each_size_can_be_grown_to_the_next() {
    if needs_e2fsprogs() {
        return;
    }
    let sizes = [
        8 * MEBI,
        127 * MEBI,
        128 * MEBI,
        128 * MEBI + 4096,
        129 * MEBI,
        GIBI,
        8 * GIBI - 4096,
        8 * GIBI,
        8 * GIBI + 4096,
        300 * GIBI,
        301 * GIBI,
    ];
    let image = Image::empty(sizes[0], &CreateOptions { journal: true, ..CreateOptions::default() }).unwrap();
    fill(&image);
    for (number, size) in sizes.into_iter().enumerate() {
        let growth = grow_ext4(&open(&image), size).unwrap();
        assert!(growth.to <= size && growth.to + 8 * MEBI > size, "{size}: {growth:?}");
        image.check();
        assert_eq!(fs::metadata(&image.path).unwrap().len(), size);
        assert_eq!(image.number("Block count") * 4096, growth.to);
        assert_kept(&image);
        use_with_kernel(&image, &number.to_string());
    }
    assert!(image.superblock("Filesystem features").contains("meta_bg"));
    assert!(image.allocated() < 24 * MEBI, "{}", image.allocated());
}

#[test]
fn disks_without_a_journal_grow_from_a_megabyte() {
    if needs_e2fsprogs() {
        return;
    }
    let image = Image::empty(MEBI, &CreateOptions::default()).unwrap();
    fill(&image);
    for size in [2 * MEBI, 8 * MEBI, 200 * MEBI, 9 * GIBI] {
        grow_ext4(&open(&image), size).unwrap();
        image.check();
        assert_kept(&image);
    }
    use_with_kernel(&image, "more");
}

#[test]
fn disks_of_mke2fs_grow() {
    if needs_e2fsprogs() || skip::needs_program("mke2fs") {
        return;
    }
    for arguments in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-O", "^resize_inode"],
        &["-t", "ext4", "-O", "sparse_super2,^resize_inode"],
        &["-t", "ext4", "-O", "^flex_bg"],
        &["-t", "ext4", "-O", "^metadata_csum,uninit_bg"],
        &["-t", "ext4", "-O", "^metadata_csum,^uninit_bg"],
        &["-t", "ext4", "-O", "^64bit"],
        &["-t", "ext4", "-O", "meta_bg,^resize_inode"],
        &["-t", "ext4", "-O", "metadata_csum_seed,orphan_file"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "2048", "-O", "^64bit,^metadata_csum,uninit_bg"],
        &["-t", "ext4", "-b", "4096", "-I", "1024", "-N", "20000"],
        &["-t", "ext4", "-b", "4096", "-g", "8192", "-G", "64"],
        &["-t", "ext3"],
        &["-t", "ext2", "-b", "1024"],
    ] {
        let image = Image::of_mke2fs(100 * MEBI, arguments);
        fill(&image);
        for size in [110 * MEBI, 700 * MEBI, 9 * GIBI] {
            let growth = grow_ext4(&open(&image), size).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert!(growth.to > size - 64 * MEBI, "{arguments:?}: {growth:?}");
            image.check();
            assert_kept(&image);
        }
        use_with_kernel(&image, "more");
    }
}

#[test]
fn resize2fs_grows_what_was_grown_here() {
    if needs_e2fsprogs() {
        return;
    }
    let image = Image::empty(GIBI, &CreateOptions { journal: true, ..CreateOptions::default() }).unwrap();
    fill(&image);
    grow_ext4(&open(&image), 20 * GIBI).unwrap();
    run(Command::new("resize2fs").arg(&image.path).arg("40G"));
    image.check();
    grow_ext4(&open(&image), 50 * GIBI).unwrap();
    image.check();
    assert_kept(&image);
}

#[test]
fn a_dirty_disk_is_replayed_before_it_grows() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    let image = Image::empty(64 * MEBI, &CreateOptions { journal: true, ..CreateOptions::default() }).unwrap();
    fill(&image);
    let mounted = image.mount("rw");
    fs::write(mounted.path().join("late"), "late").unwrap();
    let late = File::open(mounted.path().join("late")).unwrap();
    late.sync_all().unwrap();
    let copy = image.path.with_extension("copy");
    fs::copy(&image.path, &copy).unwrap();
    drop((late, mounted));
    fs::rename(&copy, &image.path).unwrap();
    assert!(image.superblock("Filesystem features").contains("needs_recovery"));
    let growth = grow_ext4(&open(&image), 10 * GIBI).unwrap();
    assert!(growth.replayed);
    image.check();
    assert_kept(&image);
    assert_eq!(image.debugfs("cat late"), "late");
    use_with_kernel(&image, "more");
}

#[test]
fn disks_that_cannot_be_grown_stay_as_they_are() {
    if needs_e2fsprogs() || skip::needs_program("mke2fs") {
        return;
    }
    let refusal = |image: &Image, size: u64| {
        let before = fs::read(&image.path).unwrap();
        let error = grow_ext4(&open(image), size).unwrap_err();
        assert!(before == fs::read(&image.path).unwrap(), "{error}");
        match error {
            Error::Growth(refusal) => refusal,
            other => panic!("{other}"),
        }
    };
    for (features, name) in [("bigalloc", "bigalloc"), ("mmp", "mmp")] {
        let image = Image::of_mke2fs(32 * MEBI, &["-t", "ext4", "-O", features]);
        assert!(matches!(refusal(&image, GIBI), GrowthRefusal::Features(names) if names == name));
    }
    let image = Image::empty(16 * MEBI, &CreateOptions { journal: true, ..CreateOptions::default() }).unwrap();
    let smaller = refusal(&image, 15 * MEBI);
    assert_eq!(smaller, GrowthRefusal::Smaller { current: 16 * MEBI, size: 15 * MEBI });
    // Inode numbers end before 2^32.
    assert!(matches!(refusal(&image, 1 << 50), GrowthRefusal::Limit { .. }));
    // The state and its mark are in two bytes of the superblock; debugfs writes the checksum.
    let set = |request: &str| run(Command::new("debugfs").args(["-w", "-R", request]).arg(&image.path));
    set("ssv state 0");
    assert_eq!(refusal(&image, GIBI), GrowthRefusal::Unclean);
    set("ssv state 3");
    assert_eq!(refusal(&image, GIBI), GrowthRefusal::Errors);
    set("ssv state 1");
    open(&image).set_len(17 * MEBI).unwrap();
    open(&image).write_all_at(b"verity\0\0", 16 * MEBI).unwrap();
    assert_eq!(refusal(&image, GIBI), GrowthRefusal::HashTree);
    open(&image).write_all_at(b"anything", 16 * MEBI).unwrap();
    grow_ext4(&open(&image), GIBI).unwrap();
    image.check();
    open(&image).write_all_at(b"?", 1024 + 8).unwrap();
    assert!(matches!(grow_ext4(&open(&image), 2 * GIBI), Err(Error::NotExt4 { .. })));
}

#[test]
fn bytes_that_are_no_file_system_are_refused() {
    let file = tempfile::tempfile().unwrap();
    for bytes in [&b""[..], &[0; 2048], &[0xff; 4096]] {
        file.set_len(0).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        assert!(matches!(grow_ext4(&file, GIBI), Err(Error::NotExt4 { .. })));
    }
}

#[test]
fn a_uuid_changes_without_other_checksums() {
    if needs_e2fsprogs() {
        return;
    }
    let image = Image::empty(2 * GIBI, &CreateOptions { journal: true, ..CreateOptions::default() }).unwrap();
    fill(&image);
    for number in 1..3 {
        vmroot_ext4::set_uuid(&open(&image), [number; 16]).unwrap();
        image.check();
        assert_eq!(image.superblock("Filesystem UUID").as_bytes()[1], b'0' + number);
    }
    assert_kept(&image);
    grow_ext4(&open(&image), 20 * GIBI).unwrap();
    image.check();
    use_with_kernel(&image, "more");
    let summary = vmroot_ext4::Summary::read(&open(&image)).unwrap();
    assert!(summary.is_clean && summary.features.iter().any(|name| name == "metadata_csum_seed"));
    assert_eq!(summary.size, 20 * GIBI);
}
