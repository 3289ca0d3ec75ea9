//! Reads disks that the kernel wrote, and compares them with the kernel's own view.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use vmroot_container_fs::InodeKind;
use vmroot_ext4::{Ext4Reader, Inode, ReadAt, ReadOptions, ReadResult, open_replayed};
use vmroot_model::{Algorithm, Hasher};
use vmroot_testkit::history::History;
use vmroot_testkit::listing::{Listing, Row};
use vmroot_testkit::mounted::{Mounted, run};
use vmroot_testkit::skip;

/// A disk in a file.
pub(super) struct Disk {
    pub(super) path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Disk {
    /// Makes a disk with mke2fs.
    pub(super) fn new(size: u64, options: &[&str]) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().set_len(size).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(options).arg(&path));
        Self { path, _directory: directory }
    }

    pub(super) fn mount(&self, options: &str) -> Mounted {
        Mounted::new(&self.path, "ext4", options)
    }

    /// Returns the listing of this crate's reader.
    pub(super) fn list(&self) -> Listing {
        let reader = open_replayed(File::open(&self.path).unwrap(), &ReadOptions::default()).unwrap();
        list(&reader).unwrap()
    }
}

/// Lists a file system as [`Listing::of_directory`] lists a mount.
pub(super) fn list<R: ReadAt>(reader: &Ext4Reader<R>) -> ReadResult<Listing> {
    let mut listing = Listing::default();
    let mut groups: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    let mut directories = vec![(Vec::new(), reader.root()?)];
    while let Some((path, directory)) = directories.pop() {
        for entry in reader.read_directory(&directory)? {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let path = [&path, slash, &entry.name].concat();
            let inode = reader.inode(entry.inode)?;
            listing.rows.insert(path.clone(), row(reader, &inode)?);
            match inode.kind() {
                InodeKind::Directory => directories.push((path, inode)),
                _ if inode.links() > 1 => groups.entry(entry.inode).or_default().push(path),
                _ => {}
            }
        }
    }
    for paths in groups.values_mut() {
        paths.sort();
        for path in paths.iter().filter(|_| paths.len() > 1) {
            listing.rows.get_mut(path).unwrap().link = Some(paths[0].clone());
        }
    }
    Ok(listing)
}

fn row<R: ReadAt>(reader: &Ext4Reader<R>, inode: &Inode) -> ReadResult<Row> {
    let (kind, has_device) = match inode.kind() {
        InodeKind::Directory => ('d', false),
        InodeKind::Regular => ('f', false),
        InodeKind::Symlink => ('l', false),
        InodeKind::Character => ('c', true),
        InodeKind::Block => ('b', true),
        InodeKind::Fifo => ('p', false),
        InodeKind::Socket => ('s', false),
        InodeKind::Link => unreachable!("an ext4 inode is no link of a layer"),
    };
    let device = inode.device();
    Ok(Row {
        kind,
        mode: inode.mode(),
        uid: inode.uid(),
        gid: inode.gid(),
        mtime: i128::from(inode.mtime().seconds) * 1_000_000_000 + i128::from(inode.mtime().nanoseconds),
        size: (kind == 'f').then(|| inode.size()),
        device: has_device.then_some((device.major, device.minor)),
        link: None,
        target: if kind == 'l' { Some(reader.link_target(inode)?) } else { None },
        xattrs: reader.xattrs(inode)?.into_iter().filter(|(name, _)| !is_overlay(name)).collect(),
        sha256: if kind == 'f' { Some(digest(reader, inode)?) } else { None },
    })
}

fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

fn digest<R: ReadAt>(reader: &Ext4Reader<R>, inode: &Inode) -> ReadResult<String> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut file = reader.open_file(inode)?;
    let mut buffer = vec![0; 100_000];
    let mut at = 0;
    while at < file.size() {
        let length = (file.size() - at).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..length], at)?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(hasher.finish().hex()[..32].into())
}

/// The options of mke2fs whose disks are read, and the size of the disk in MiB.
const FORMATS: [(u64, &[&str]); 14] = [
    (64, &[]),
    (64, &["-b", "1024"]),
    (64, &["-b", "2048", "-I", "128"]),
    (64, &["-O", "inline_data"]),
    (64, &["-O", "inline_data", "-I", "1024"]),
    (64, &["-O", "ea_inode"]),
    (64, &["-O", "bigalloc", "-C", "65536"]),
    (64, &["-O", "^extents,^64bit,^metadata_csum", "-b", "1024"]),
    (64, &["-O", "^has_journal,^flex_bg"]),
    (64, &["-O", "meta_bg,^resize_inode", "-b", "1024"]),
    (64, &["-O", "^metadata_csum,uninit_bg,^dir_index"]),
    (64, &["-O", "metadata_csum_seed,large_dir"]),
    (64, &["-O", "mmp,encrypt,verity"]),
    (64, &["-O", "sparse_super2,^resize_inode", "-b", "1024"]),
];

/// Plays a history on a disk, and compares the two views afterwards. Returns the number of paths.
fn compare(number: usize, seed: u64) -> usize {
    let (size, options) = FORMATS[number];
    let disk = Disk::new(size << 20, options);
    let mounted = disk.mount("");
    let mut history = History::new(seed, []);
    history.play(mounted.path(), 300);
    drop(mounted);
    let mounted = disk.mount("ro");
    let expected = Listing::of_directory(mounted.path()).unwrap();
    drop(mounted);
    if let Some(difference) = expected.difference(&disk.list()) {
        panic!("mke2fs {options:?}, seed {seed}: {difference}");
    }
    expected.rows.len()
}

#[test]
fn disks_of_the_kernel_are_read_as_by_the_kernel() {
    if skip::needs_root() || skip::needs_program("mkfs.ext4") {
        return;
    }
    let rounds = std::env::var("VMROOT_TEST_HISTORIES").map_or(1, |count| count.parse().unwrap());
    for seed in 0..rounds {
        for number in 0..FORMATS.len() {
            assert!(compare(number, 100 * seed + number as u64) > 20);
        }
    }
}

#[test]
fn times_before_1970_and_after_2038_are_read() {
    if skip::needs_root() || skip::needs_program("mkfs.ext4") {
        return;
    }
    let disk = Disk::new(8 << 20, &[]);
    let mounted = disk.mount("");
    for (name, seconds) in [("a", -2_147_483_648_i64), ("b", -1), ("c", 4_294_967_296), ("d", 15_032_385_534)] {
        run(Command::new("touch").arg("-d").arg(format!("@{seconds}.123456789")).arg(mounted.path().join(name)));
    }
    let expected = Listing::of_directory(mounted.path()).unwrap();
    drop(mounted);
    expected.assert_same(&disk.list());
    assert_eq!(expected.rows[&b"d"[..]].mtime, 15_032_385_534_123_456_789);
}

/// Returns the listing of a copy of a disk, as the kernel sees it after its own replay.
pub(super) fn list_by_kernel(disk: &Path) -> Listing {
    let mounted = Mounted::new(disk, "ext4", "");
    Listing::of_directory(mounted.path()).unwrap()
}
