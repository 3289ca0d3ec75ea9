//! Reads disks with journals that were not replayed, and compares them with the kernel's own replay.
//!
//! A copy of the file of a mounted disk is like a disk after a crash of the machine.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vmroot_ext4::{ReadError, ReadOptions, open_replayed, replay};
use vmroot_testkit::history::History;
use vmroot_testkit::listing::Listing;
use vmroot_testkit::mounted::run;
use vmroot_testkit::skip;

use super::reading::{Disk, list, list_by_kernel};

/// The options of mke2fs and of mount whose journals are replayed.
const FORMATS: [(&[&str], &str); 12] = [
    (&[], ""),
    (&["-b", "1024", "-J", "size=1"], ""),
    (&["-b", "1024", "-J", "size=1"], "data=journal"),
    (&["-b", "4096", "-J", "size=4"], "data=journal"),
    (&["-b", "2048", "-O", "^64bit", "-J", "size=4"], "data=journal"),
    (&["-b", "4096", "-O", "^metadata_csum,^64bit"], "journal_checksum,data=journal"),
    (&["-b", "4096", "-O", "^metadata_csum,^64bit"], "journal_async_commit,data=writeback"),
    (&["-b", "4096", "-O", "inline_data,ea_inode"], ""),
    (&["-b", "1024", "-O", "^extents,^flex_bg,^64bit,^metadata_csum"], "data=journal"),
    (&["-O", "orphan_file"], "data=journal"),
    (&["-b", "4096", "-O", "fast_commit", "-J", "size=8"], ""),
    (&["-b", "1024", "-O", "fast_commit", "-J", "size=2"], ""),
];

/// The image of a disk that was not unmounted.
struct Image {
    path: PathBuf,
    /// Nothing was written to the disk during the copy.
    is_consistent: bool,
}

/// Calls `check` for images of a disk on which a history is played.
fn each_image(disk: &Disk, options: &str, seed: u64, count: usize, mut check: impl FnMut(&Image)) {
    let mounted = disk.mount(options);
    let root = mounted.path();
    let mut history = History::new(seed, []);
    for number in 0..count {
        let path = disk.path.with_extension("image");
        let is_consistent = number % 2 == 0;
        let steps = 20 + history.below(200) as usize;
        if is_consistent {
            history.play(root, steps);
            copy(&disk.path, &path);
        } else {
            copy_meanwhile(&mut history, root, &disk.path, &path);
        }
        history.prune(root, 150);
        check(&Image { path, is_consistent });
    }
}

/// Copies the file of a disk while the history goes on.
fn copy_meanwhile(history: &mut History, root: &Path, from: &Path, to: &Path) {
    let is_done = AtomicBool::new(false);
    let pause = Duration::from_millis(10 + history.below(200));
    thread::scope(|scope| {
        let is_done = &is_done;
        scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                history.play(root, 5);
            }
        });
        thread::sleep(pause);
        copy(from, to);
        is_done.store(true, Ordering::Relaxed);
    });
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to));
}

/// Returns the kernel's listing, or `None` if the kernel refuses the image.
fn kernel_view(image: &Path) -> Option<Listing> {
    let place = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(image).arg(place.path()).output().unwrap();
    if !mounted.status.success() {
        return None;
    }
    let listing = Listing::of_directory(place.path());
    run(Command::new("umount").arg(place.path()));
    listing.ok()
}

/// Compares images with the kernel's replay. Returns how many had a journal to replay.
fn compare(number: usize, seed: u64, count: usize) -> usize {
    let (format, options) = FORMATS[number];
    let disk = Disk::new(64 << 20, format);
    let mut replayed = 0;
    each_image(&disk, options, seed, count, |image| {
        let describe = || format!("mke2fs {format:?}, mount {options:?}, seed {seed}");
        let written = image.path.with_extension("written");
        fs::copy(&image.path, &written).unwrap();
        let reader = open_replayed(File::open(&written).unwrap(), &ReadOptions::default());
        let ours = reader.and_then(|reader| {
            replayed += usize::from(reader.disk().replayed_blocks() > 0);
            list(&reader)
        });
        let Some(kernel) = kernel_view(&image.path) else {
            // Only a copy of different moments can be damaged.
            assert!(!image.is_consistent, "{}", describe());
            return;
        };
        let ours = ours.unwrap_or_else(|error| panic!("{}: {error}", describe()));
        let has_fast_commits = format.iter().any(|option| option.contains("fast_commit"));
        let (kernel, ours) = match has_fast_commits {
            true => (without_times_of_directories(kernel), without_times_of_directories(ours)),
            false => (kernel, ours),
        };
        if let Some(difference) = kernel.difference(&ours) {
            panic!("{}: {difference}", describe());
        }
        // The same by writing: the kernel then finds nothing to replay.
        let file = OpenOptions::new().read(true).write(true).open(&written).unwrap();
        match replay(&file) {
            Ok(replay) => assert!(replay.was_dirty),
            // Fast commits are only read.
            Err(error) if has_fast_commits => {
                assert!(matches!(error, ReadError::Unsupported(_)), "{error}");
                return;
            }
            Err(error) => panic!("{}: {error}", describe()),
        }
        assert!(!replay(&file).unwrap().was_dirty);
        if !has_fast_commits {
            kernel.assert_same(&list_by_kernel(&written));
        }
        if image.is_consistent {
            // That mount has freed the inodes that were open without a name.
            run(Command::new("e2fsck").arg("-fn").arg(&written));
        }
    });
    replayed
}

#[test]
fn journals_are_replayed_as_by_the_kernel() {
    if skip::needs_root() || skip::needs_program("mkfs.ext4") {
        return;
    }
    let (rounds, images) = match std::env::var("VMROOT_TEST_CRASHES") {
        Ok(count) => (count.parse().unwrap(), 6),
        Err(_) => (1, 1),
    };
    let mut replayed = 0;
    for seed in 0..rounds {
        for number in 0..FORMATS.len() {
            replayed += compare(number, 1000 * seed + number as u64, images);
        }
    }
    assert!(replayed > FORMATS.len() / 2, "only {replayed} images had a journal to replay");
}

#[test]
fn fast_commits_are_read_as_by_the_kernel() {
    if skip::needs_root() || skip::needs_program("mkfs.ext4") {
        return;
    }
    let script = "
        mkdir old; echo one > old/one; ln old/one old/link; sync -f .
        echo first > new; sync new; echo more >> new; sync new
        ln new old/new; mkdir directory; echo inside > directory/file; sync directory/file
        dd if=/dev/urandom of=large bs=100k count=3 status=none; sync large
        rm old/link; mv old/one moved; sync new
        truncate -s 5000 large; sync large; fallocate -p -o 4096 -l 500 large; sync large
        echo not synced > lost
    ";
    for format in [&["-b", "4096"], &["-b", "1024"]] {
        let disk = Disk::new(64 << 20, &[&format[..], &["-O", "fast_commit", "-J", "size=8"]].concat());
        let mounted = disk.mount("");
        run(Command::new("bash").args(["-euc", script]).current_dir(mounted.path()));
        let image = disk.path.with_extension("image");
        copy(&disk.path, &image);
        drop(mounted);
        let written = File::options().read(true).write(true).open(&image).unwrap();
        let error = replay(&written).unwrap_err();
        assert!(error.to_string().contains("fast commits"), "{error}");
        let ours = list(&open_replayed(written, &ReadOptions::default()).unwrap()).unwrap();
        assert!(ours.rows.contains_key(&b"directory/file"[..]));
        without_times_of_directories(list_by_kernel(&image)).assert_same(&without_times_of_directories(ours));
    }
}

/// The kernel gives directories whose names it replays the time of the replay. This crate keeps that of the guest.
fn without_times_of_directories(mut listing: Listing) -> Listing {
    listing.rows.values_mut().filter(|row| row.kind == 'd').for_each(|row| row.mtime = 0);
    listing
}
