//! Large files and directories, and large numbers of them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use vmroot_ext4::{Error, Ext4Options};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::listing::Listing;
use vmroot_testkit::skip;

use super::image::{Image, expected, needs_e2fsprogs, root_of};

#[test]
fn a_directory_of_a_hundred_thousand_entries() {
    if needs_e2fsprogs() {
        return;
    }
    // Names of 200 bytes take 5300 blocks: an index of two levels.
    let name = |number: u32| format!("{number:0>width$}", width = if number.is_multiple_of(5) { 200 } else { 9 });
    let entries = (0..100_000).map(|number| Entry::file(format!("d/{}", name(number)), number.to_string()));
    let image = Image::of(&[Layer::new(entries)], &Ext4Options::default());
    image.check();
    assert!(image.debugfs("htree_dump /d").contains("Indirect levels: 1"));
    if skip::needs_root() {
        return;
    }
    let mounted = image.mount("ro");
    let directory = mounted.path().join("d");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 100_000);
    for number in (0..100_000).step_by(7) {
        assert_eq!(fs::read_to_string(directory.join(name(number))).unwrap(), number.to_string());
    }
    assert!(!directory.join("absent").exists());
}

#[test]
fn directories_around_the_size_of_a_block() {
    if needs_e2fsprogs() {
        return;
    }
    let may_mount = !skip::needs_root();
    // 4084 bytes of entries fit a block with `.` and `..`: 4060. One of 260 bytes, then some of 20.
    for (count, indexed) in [(0, false), (190, false), (191, true), (200, true), (380, true)] {
        let long = Entry::file("x".repeat(250), "");
        let entries = (0..count).map(|number| Entry::file(format!("{number:0>12}"), ""));
        let layers = [Layer::new(entries.chain([long]))];
        let image = Image::of(&layers, &Ext4Options::default());
        image.check();
        let flags = image.debugfs("stat /");
        assert_eq!(flags.contains("Flags: 0x81000"), indexed, "{count}: {flags}");
        if may_mount {
            expected(&layers).assert_same(&Listing::of_directory(image.mount("ro").path()).unwrap());
        }
    }
}

#[test]
fn a_deep_tree_and_long_names() {
    if needs_e2fsprogs() {
        return;
    }
    let deep = vec!["d"; 1500].join("/");
    let wide = (0..40).map(|number| Entry::file(format!("w/{}{number:0>3}", "n".repeat(252)), "x"));
    let layers = [Layer::new(wide.chain([Entry::file(format!("{deep}/f"), "bottom")]))];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    if !skip::needs_root() {
        expected(&layers).assert_same(&Listing::of_directory(image.mount("ro").path()).unwrap());
    }
}

#[test]
fn a_sparse_file_above_four_gigabytes() {
    if needs_e2fsprogs() {
        return;
    }
    let gigabyte = 1 << 30;
    let runs = vec![(0, vec![1; 4096]), (3 * gigabyte + 5, vec![2; 10_000]), (5 * gigabyte - 10, vec![3; 10])];
    let holes = (0..400).map(|run| (run * (70 << 10), vec![4; 10])).collect();
    let layers = [Layer::new([
        Entry::sparse_file("five", 5 * gigabyte, runs),
        // More runs than fit an inode, and more than fit a block of extents.
        Entry::sparse_file("many", 400 * (70 << 10), holes),
        Entry::sparse_file("nothing", 64 << 20, vec![]),
    ])];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    assert!(image.report.bytes < 4 << 20, "{}", image.report.bytes);
    assert!(image.debugfs("stat /many").contains("(ETB"), "an extent tree with blocks");
    if skip::needs_root() {
        return;
    }
    let mounted = image.mount("ro");
    let five = File::open(mounted.path().join("five")).unwrap();
    assert_eq!((five.metadata().unwrap().len(), five.metadata().unwrap().blocks()), (5 * gigabyte, 4 * 8 + 8));
    let mut bytes = [0; 10_010];
    five.read_exact_at(&mut bytes, 3 * gigabyte).unwrap();
    assert!(bytes[..5] == [0; 5] && bytes[5..10_005] == [2; 10_000] && bytes[10_005..] == [0; 5]);
    five.read_exact_at(&mut bytes[..10], 5 * gigabyte - 10).unwrap();
    assert_eq!(bytes[..10], [3; 10]);
    let many = fs::read(mounted.path().join("many")).unwrap();
    assert_eq!(many.iter().filter(|&&byte| byte == 4).count(), 4000);
    assert_eq!(fs::metadata(mounted.path().join("nothing")).unwrap().blocks(), 0);
}

#[test]
fn names_of_a_file_up_to_the_limit() {
    if needs_e2fsprogs() {
        return;
    }
    let links = |count: u32| {
        let links = (1..count).map(|number| Entry::hard_link(format!("d/{number}"), "first"));
        [Layer::new([Entry::file("first", "bytes")].into_iter().chain(links))]
    };
    let image = Image::of(&links(65_000), &Ext4Options::default());
    image.check();
    assert!(image.debugfs("stat /first").contains("Links: 65000"));

    let error = Image::of_root(&root_of(&links(65_001)).fs, &Ext4Options::default()).err().unwrap();
    assert!(matches!(&error, Error::Unrepresentable { path, .. } if path == "d/1"), "{error}");
    assert!(error.full_message().contains("65001 names of one file, the limit is 65000"), "{error}");
}

#[test]
fn subdirectories_around_the_link_limit() {
    if needs_e2fsprogs() {
        return;
    }
    // The name in the parent and `.` count too.
    for (count, links) in [(64_998, 65_000), (64_999, 1)] {
        let directories = (0..count).map(|number| Entry::directory(format!("d/{number}")));
        let image = Image::of(&[Layer::new(directories)], &Ext4Options::default());
        image.check();
        let stat = image.debugfs("stat /d");
        assert!(stat.contains(&format!("Links: {links} ")), "{stat}");
    }
}

#[test]
fn several_groups() {
    if needs_e2fsprogs() {
        return;
    }
    // The contents fill three groups, around the copies of the superblock.
    let content =
        |number: u32| -> Vec<u8> { (0..30_u32 << 18).flat_map(|word| (word ^ number).to_le_bytes()).collect() };
    let layers = [Layer::new((0..10).map(|number| Entry::file(number.to_string(), content(number))))];
    let image = Image::of(&layers, &Ext4Options::default());
    image.check();
    assert!(image.superblock("Block count").parse::<u64>().unwrap() > 2 * 32_768);
    if !skip::needs_root() {
        expected(&layers).assert_same(&Listing::of_directory(image.mount("ro").path()).unwrap());
    }
}
