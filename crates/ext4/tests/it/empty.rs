//! Empty file systems.

use std::fs;

use vmroot_ext4::{CreateOptions, Error};
use vmroot_testkit::skip;

use super::image::{Image, needs_e2fsprogs};

const MEBI: u64 = 1 << 20;
const GIBI: u64 = 1 << 30;

fn with_journal(journal: bool) -> CreateOptions<'static> {
    CreateOptions { journal, ..CreateOptions::default() }
}

#[test]
fn each_size_is_clean_and_sparse() {
    if needs_e2fsprogs() {
        return;
    }
    let without = [MEBI, MEBI + 4097, 2 * MEBI].map(|size| (size, false));
    let with =
        [8 * MEBI, 127 * MEBI, 128 * MEBI, 128 * MEBI + 4096, 129 * MEBI, GIBI, 8 * GIBI].map(|size| (size, true));
    let around = [8 * GIBI - 4096, 8 * GIBI + 4096, 9 * GIBI - 1, 60 * GIBI].map(|size| (size, true));
    for (size, journal) in without.into_iter().chain(with).chain(around) {
        let image = Image::empty(size, &with_journal(journal)).unwrap();
        image.check();
        assert_eq!(fs::metadata(&image.path).unwrap().len(), size);
        let lost = size - image.number("Block count") * 4096;
        assert!(lost < 4 * MEBI + 8192 * 4, "{size}: {lost} bytes are left over");
        assert!(image.allocated() < MEBI, "{size}: {} bytes on disk", image.allocated());
        assert_eq!(image.number("Reserved block count"), 0);
    }
}

#[test]
fn the_layout_is_that_of_mke2fs() {
    if needs_e2fsprogs() || skip::needs_program("mke2fs") {
        return;
    }
    for size in [8 * MEBI, 32 * MEBI, 8 * GIBI] {
        let image = Image::empty(size, &with_journal(true)).unwrap();
        let other = Image::of_mke2fs(size, &["-t", "ext4", "-b", "4096", "-m", "0", "-O", "^resize_inode"]);
        for field in ["Inode count", "Block count", "Journal inode", "Total journal size", "Inode size"] {
            assert_eq!(image.superblock(field), other.superblock(field), "{size}: {field}");
        }
        let names = |image: &Image| image.debugfs("ls -p /");
        let fields =
            |text: String| text.lines().map(|line| line.split('/').nth(5).map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(fields(names(&image)), fields(names(&other)), "{size}");
    }
}

#[test]
fn equal_options_make_equal_bytes() {
    let bytes = |options: &CreateOptions<'_>| fs::read(Image::empty(9 * MEBI, options).unwrap().path).unwrap();
    let plain = bytes(&with_journal(true));
    assert!(plain == bytes(&with_journal(true)));
    assert!(plain != bytes(&with_journal(false)));
    assert!(plain != bytes(&CreateOptions { label: "other", ..with_journal(true) }));
    assert!(plain != bytes(&CreateOptions { uuid: Some([7; 16]), ..with_journal(true) }));
}

#[test]
fn options_reach_the_superblock() {
    if needs_e2fsprogs() {
        return;
    }
    let uuid = *b"\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef";
    let options =
        CreateOptions { label: "data", uuid: Some(uuid), bytes_per_inode: Some(65_536), ..with_journal(true) };
    let image = Image::empty(512 * MEBI, &options).unwrap();
    image.check();
    assert_eq!(image.superblock("Filesystem volume name"), "data");
    assert_eq!(image.superblock("Filesystem UUID"), "01234567-89ab-4def-8123-456789abcdef");
    assert_eq!(image.number("Inode count"), 8192);
}

#[test]
fn sizes_and_options_that_are_impossible_are_errors() {
    let error = |size, options: &CreateOptions<'_>| Image::empty(size, options).err().unwrap();
    let Error::TooSmall { needed, .. } = error(0, &with_journal(false)) else { panic!("0 bytes") };
    assert!(needed <= 256 << 10, "{needed}");
    assert!(Image::empty(needed, &with_journal(false)).is_ok());
    assert!(Image::empty(needed - 1, &with_journal(false)).is_err());
    let small = error(8 * MEBI - 1, &with_journal(true));
    assert!(matches!(small, Error::TooSmall { needed, .. } if needed == 8 * MEBI), "{small}");
    let ratio = |bytes| CreateOptions { bytes_per_inode: Some(bytes), ..CreateOptions::default() };
    assert!(matches!(error(MEBI, &ratio(4095)), Error::BytesPerInode { .. }));
    assert!(matches!(error(MEBI, &ratio((64 << 20) + 1)), Error::BytesPerInode { .. }));
    assert!(Image::empty(300 * MEBI, &ratio(64 << 20)).is_ok());
    let label = CreateOptions { label: "seventeen bytes !", ..CreateOptions::default() };
    assert!(matches!(error(MEBI, &label), Error::LabelTooLong { .. }));
}

#[test]
fn the_kernel_mounts_what_was_written_before() {
    if needs_e2fsprogs() || skip::needs_root() {
        return;
    }
    for (size, journal) in [(MEBI, false), (8 * MEBI, true), (129 * MEBI, true), (8 * GIBI, true)] {
        let image = Image::empty(size, &with_journal(journal)).unwrap();
        for round in 0..2 {
            let mounted = image.mount("rw");
            let names = fs::read_dir(mounted.path()).unwrap().count();
            assert_eq!(names, 1 + round);
            fs::write(mounted.path().join(round.to_string()), vec![7; 100_000]).unwrap();
            drop(mounted);
            image.check();
        }
        assert_eq!(image.superblock("Filesystem state"), "clean");
    }
}
