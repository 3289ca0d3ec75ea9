//! A full file system.

use std::env;
use std::io::{self, Write};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use vmroot_cache::{Needs, PUBLISHED_MODE, Verdict, wait_forever};
use vmroot_model::Digest;
use vmroot_output::Cancel;
use vmroot_output::write_atomically;

use crate::{bytes, open, open_writer};

/// A tmpfs of one megabyte. It is unmounted when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Returns `None` if this user may not mount.
    #[expect(clippy::print_stderr, reason = "reports that the test is skipped")]
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), Some(c"size=1m"));
        if let Err(error) = mounted {
            assert!(env::var_os("VMROOT_TEST_NO_SKIP").is_none(), "cannot mount a tmpfs: {error}");
            eprintln!("skipped: needs root");
            return None;
        }
        Some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn full_disk_error_names_the_file_and_loses_no_blob() {
    let Some(disk) = SmallDisk::mount() else { return };
    let cache = open(&disk.path().join("cache"));
    let small = bytes(20, 300_000);
    let mut writer = open_writer(&cache, &Digest::of(&small), small.len());
    writer.append(&small).unwrap();
    writer.commit().unwrap();

    let large = bytes(21, 2_000_000);
    let digest = Digest::of(&large);
    let mut writer = open_writer(&cache, &digest, large.len());
    let error = large.chunks(100_000).find_map(|piece| writer.append(piece).err()).unwrap();
    assert!(error.is_full_disk(), "{error}");
    assert!(error.to_string().contains(cache.layout().partial(&digest).to_str().unwrap()), "{error}");
    let error = writer.write_all(&large[..500_000]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let accepted = writer.offset();
    drop(writer);

    let record = cache.layout().image_record(&digest);
    let error = vmroot_cache::Error::from(write_atomically(&record, PUBLISHED_MODE, &small).unwrap_err());
    assert!(error.is_full_disk(), "{error}");
    assert!(!record.exists());

    assert_eq!(cache.verify(&Digest::of(&small), &Cancel::new()).unwrap(), Verdict::Whole);
    assert_eq!(cache.blobs().unwrap().len(), 2);
    // With free space again, the fetch resumes.
    mount_remount(disk.path(), MountFlags::empty(), c"size=8m").unwrap();
    let mut writer = open_writer(&cache, &digest, large.len());
    // Bytes that were in the writer's buffer are lost; those before them are kept.
    let kept = writer.offset();
    assert!(kept > 0 && kept <= accepted, "{kept} of {accepted}");
    writer.append(&large[kept as usize..]).unwrap();
    writer.commit().unwrap();
}

/// A user that cannot write its needs needs all files, until it needs none.
#[test]
fn needs_that_cannot_be_written_stand_for_all_files() {
    let Some(disk) = SmallDisk::mount() else { return };
    let cache = open(&disk.path().join("cache"));
    let user = cache.enter("mount", &mut wait_forever).unwrap();
    let other = cache.enter("gc", &mut wait_forever).unwrap();
    let needs = Needs { layers: (0..100_u32).map(|n| Digest::of(&n.to_le_bytes())).collect(), ..Needs::default() };
    let written = user.uses().hold(Needs { roots: [Digest::of(b"root")].into(), ..Needs::default() }).unwrap();
    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 1024]).is_ok() {}
    drop(file);
    let unwritten = user.uses().hold(needs.clone()).unwrap();
    let seen = || {
        let exclusion = other.close_gate(&mut wait_forever).unwrap().unwrap().exclude().unwrap();
        exclusion
            .uses
            .iter()
            .find(|found| !found.is_own)
            .map(|found| (found.everything, found.needs.layers.len()))
            .unwrap()
    };
    assert!(seen().0);
    // A new user, and the release of all, need no space.
    drop(cache.enter("rm", &mut wait_forever).unwrap());
    drop((written, unwritten));
    assert_eq!(seen(), (false, 0));
    std::fs::remove_file(&filler).unwrap();
    let _hold = user.uses().hold(needs).unwrap();
    assert_eq!(seen(), (false, 100));
}
