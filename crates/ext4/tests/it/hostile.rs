//! Damaged disks: the reader returns errors, and neither panics nor runs for long.

use std::collections::HashSet;
use std::fs;

use vmroot_container_fs::InodeKind;
use vmroot_ext4::{Ext4Options, Ext4Reader, ReadAt, ReadError, ReadOptions, ReadResult, open_replayed};
use vmroot_testkit::history::History;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::skip;

use super::image::{Image, root_of};
use super::reading::Disk;

/// Reads some of everything. Returns the number of entries.
fn read_all<R: ReadAt>(reader: &Ext4Reader<R>) -> ReadResult<usize> {
    let mut directories = vec![reader.root()?];
    let (mut entered, mut count) = (HashSet::new(), 0);
    while let Some(directory) = directories.pop() {
        if !entered.insert(directory.number()) {
            continue;
        }
        for entry in reader.read_directory(&directory).into_iter().flatten() {
            count += 1;
            let Ok(inode) = reader.inode(entry.inode) else { continue };
            let _ = reader.xattrs(&inode);
            match inode.kind() {
                InodeKind::Directory => directories.push(inode),
                InodeKind::Symlink => drop(reader.link_target(&inode)),
                _ => {
                    let Ok(mut file) = reader.open_file(&inode) else { continue };
                    let length = file.size().min(1 << 20);
                    let _ = file.next_data(0..length);
                    let _ = file.read_exact_at(&mut vec![0; length as usize], 0);
                    let _ = file.read_exact_at(&mut [0; 100], file.size().saturating_sub(100));
                }
            }
        }
    }
    Ok(count)
}

/// Changes bytes of an image at random, and reads the result.
fn change_and_read(image: &[u8], seed: u64, rounds: usize) {
    let mut random = History::new(seed, []);
    // Most blocks are zeros, and changes there do nothing.
    let used: Vec<usize> = (0..image.len()).step_by(64).filter(|at| image[*at..][..64] != [0; 64]).collect();
    let mut read = 0;
    for _ in 0..rounds {
        let mut changed = image.to_vec();
        for _ in 0..1 + random.below(12) {
            let at = used[random.below(used.len() as u64) as usize] + random.below(64) as usize;
            changed[at] = match random.below(3) {
                0 => random.below(256) as u8,
                1 => changed[at] ^ 1 << random.below(8),
                _ => [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
            };
        }
        let reader = open_replayed(changed, &ReadOptions { checksums: false });
        read += usize::from(reader.and_then(|reader| read_all(&reader)).is_ok_and(|count| count > 0));
    }
    assert!(read > rounds / 10, "only {read} of {rounds} changed images can be read");
}

fn rounds() -> usize {
    std::env::var("VMROOT_TEST_CHANGES").map_or(300, |count| count.parse().unwrap())
}

#[test]
fn changed_images_of_this_crate_do_no_harm() {
    let many = (0..400).map(|number| Entry::file(format!("d/{number:0>40}"), "x"));
    let layer = Layer::new(many.chain([
        Entry::file("a", "a").xattr("user.large", vec![1; 3000]),
        Entry::symlink("long", "t".repeat(200)),
        Entry::sparse_file("sparse", 1 << 20, (0..50).map(|run| (run * 20_000, vec![1; 10])).collect()),
    ]));
    let image = Image::of(&[layer], &Ext4Options::default());
    change_and_read(&fs::read(&image.path).unwrap(), 1, rounds());
}

#[test]
fn changed_disks_of_the_kernel_do_no_harm() {
    if skip::needs_root() || skip::needs_program("mkfs.ext4") {
        return;
    }
    let formats: [&[&str]; 3] = [
        &["-b", "1024", "-O", "inline_data,ea_inode,^metadata_csum", "-J", "size=1"],
        &["-b", "1024", "-O", "^extents,^64bit,^metadata_csum", "-J", "size=1"],
        &["-b", "1024", "-O", "fast_commit,^metadata_csum", "-J", "size=2"],
    ];
    for (seed, format) in formats.into_iter().enumerate() {
        let disk = Disk::new(5 << 20, format);
        let mounted = disk.mount("");
        History::new(seed as u64, []).play(mounted.path(), 150);
        // Not unmounted, so that the journal is read as well.
        let dirty = fs::read(&disk.path).unwrap();
        drop(mounted);
        change_and_read(&dirty, seed as u64, rounds() / 3);
    }
}

#[test]
fn features_that_cannot_be_read_are_named() {
    let image = Image::of_root(&root_of(&[Layer::new([])]).fs, &Ext4Options::default()).unwrap();
    let bytes = fs::read(&image.path).unwrap();
    let options = ReadOptions { checksums: false };
    let with = |features: u32| {
        let mut bytes = bytes.clone();
        bytes[1024 + 0x60..1024 + 0x64].copy_from_slice(&features.to_le_bytes());
        open_replayed(bytes, &options).unwrap_err()
    };
    for (features, name) in
        [(0x1, "compression"), (0x8, "journal_dev"), (0x1000, "dirdata"), (0x4000_0000, "0x40000000")]
    {
        let error = with(features);
        assert!(matches!(error, ReadError::Unsupported(_)) && error.to_string().contains(name), "{error}");
    }
    assert!(matches!(open_replayed(vec![0; 4096], &options), Err(ReadError::NotExt4)));
    assert!(matches!(open_replayed(Vec::new(), &options), Err(ReadError::NotExt4)));
    let mut external = bytes.clone();
    external[1024 + 0x5c] |= 0x4;
    assert!(open_replayed(external, &options).unwrap_err().to_string().contains("another device"));
    let mut wrong = bytes;
    wrong[1024 + 0x78] ^= 1;
    assert!(open_replayed(&wrong, &options).is_ok());
    assert!(matches!(open_replayed(wrong, &ReadOptions::default()), Err(ReadError::Damaged(_))));
}
