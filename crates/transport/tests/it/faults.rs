//! Killed writers, several writers, and full disks.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, MediaType};
use vmroot_testkit::{FullMessage as _, skip};
use vmroot_transport::{Archive, BlobRole, DestinationOptions, Error, ManifestPlace, NewBlob};

use crate::builder::Image;
use crate::copying::{KINDS, Workplace, copy, destination, read_all, source};
use crate::pull::options;

/// The variable with the names of a copy for a child process: the source, a space, the destination.
const COPY: &str = "VMROOT_TEST_COPY";

/// The variable with the number of copies that a child process makes.
const COPIES: &str = "VMROOT_TEST_COPIES";

/// A process that makes copies. It is killed when this is dropped.
struct Copying(Child);

impl Copying {
    /// Starts a process of this binary that copies `from` to `to` under the names `to-0`, `to-1` and so on.
    fn start(workplace: &Workplace, from: &str, to: &str, copies: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "faults::copies_in_a_child_process", "--quiet", "--test-threads=1"])
            .env(COPY, format!("{} {}", workplace.name(from), workplace.name(to)))
            .env(COPIES, copies.to_string())
            .current_dir(workplace.directory());
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        // The process may have ended.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Not a test by itself: the body of [`Copying::start`].
#[test]
fn copies_in_a_child_process() {
    let (Ok(names), Ok(copies)) = (env::var(COPY), env::var(COPIES)) else { return };
    let (from, to) = names.split_once(' ').unwrap();
    let here = env::current_dir().unwrap();
    for number in 0..copies.parse().unwrap() {
        let to = if to.starts_with("oci:") { format!("{to}-{number}") } else { to.to_owned() };
        let to = destination(&to, &DestinationOptions::new(&here)).unwrap();
        copy(&*source(from, &here).unwrap(), &*to).unwrap();
    }
}

/// Pseudo-random numbers, the same in each run (xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Returns the time that a process needs for some copies.
fn duration(workplace: &Workplace, from: &str, to: &str, copies: usize) -> Duration {
    let start = Instant::now();
    assert!(Copying::start(workplace, from, to, copies).0.wait().unwrap().success());
    start.elapsed()
}

/// The number of moments at which a writer is killed.
const MOMENTS: u64 = 50;

/// Asserts that all images of a layout are whole. Returns their names.
fn check_layout(path: &Path, spool: &Path) -> Vec<String> {
    let archive = Archive::open(path, &options(spool)).unwrap();
    for image in archive.images() {
        read_all(&*archive.source(image).unwrap());
    }
    archive.tags()
}

#[test]
fn a_killed_writer_leaves_a_valid_layout() {
    let workplace = Workplace::new();
    let whole = duration(&workplace, "oci:source:list", "oci:first:a", 3);
    let mut state = 10;
    let mut partial = 0;
    for moment in 0..MOMENTS {
        // Each layout is killed at several moments of its life, the first before it exists.
        let layout = format!("layout-{}", moment / 5);
        let before = if workplace.path(&layout).exists() {
            check_layout(&workplace.path(&layout), workplace.directory())
        } else {
            Vec::new()
        };
        let mut copying = Copying::start(&workplace, "oci:source:list", &format!("oci:{layout}:{moment}"), 3);
        thread::sleep(whole.mul_f64((random(&mut state) % 1000) as f64 / 1000.0));
        copying.kill();
        if workplace.path(&layout).exists() {
            let after = check_layout(&workplace.path(&layout), workplace.directory());
            assert!(before.iter().all(|name| after.contains(name)), "{before:?} {after:?}");
            partial += usize::from(after.len() < before.len() + 3);
        }
    }
    assert!(partial > 0, "no process was killed in the middle");
    // The next writer removes the temporary files, and completes the image.
    for layout in workplace.list("").iter().filter(|name| name.starts_with("layout-")) {
        workplace.copy("oci:source:list", &format!("oci:{layout}:last"));
        assert!(read_all(&*workplace.source(&format!("oci:{layout}:last"))).len() > 5);
        assert_eq!(workplace.list(layout), ["blobs", "index.json", "oci-layout"]);
    }
}

#[test]
fn a_killed_writer_leaves_no_half_image() {
    let workplace = Workplace::new();
    let originals = [("oci:source:list", "dir:dir"), ("oci:source:list", "oci-archive:a.tar:a")];
    for (from, to) in originals {
        let original = read_all(&*workplace.source(from));
        let whole = duration(&workplace, from, to, 3);
        let path = PathBuf::from(workplace.name(to).split(':').nth(1).unwrap());
        let mut state = 7;
        for moment in 0..MOMENTS {
            if moment % 3 == 0 {
                let _ = fs::remove_dir_all(&path);
                let _ = fs::remove_file(&path);
            }
            let mut copying = Copying::start(&workplace, from, to, 3);
            thread::sleep(whole.mul_f64((random(&mut state) % 1000) as f64 / 1000.0));
            copying.kill();
            // Either there is no image, or it is whole.
            match source(&workplace.name(to), workplace.directory()) {
                Ok(source) => assert!(read_all(&*source) == original, "{to}"),
                Err(Error::Missing { role: "manifest", .. } | Error::Io { .. }) => {
                    assert!(!path.join("manifest.json").exists());
                }
                Err(error) => panic!("{to}: {}", error.full_message()),
            }
            // A directory stays one that may be replaced.
            workplace.copy(from, to);
            assert!(read_all(&*workplace.source(to)) == original, "{to}");
        }
    }
    assert!(workplace.list("dir").iter().all(|name| !name.starts_with(".tmp")));
}

#[test]
fn two_processes_write_to_one_layout() {
    let workplace = Workplace::new();
    let mut processes: Vec<Copying> = KINDS
        .iter()
        .chain(&KINDS)
        .enumerate()
        .map(|(number, kind)| {
            Copying::start(&workplace, &format!("oci:source:{kind}"), &format!("oci:layout:{kind}-{number}"), 5)
        })
        .collect();
    for process in &mut processes {
        assert!(process.0.wait().unwrap().success());
    }
    let mut names = check_layout(&workplace.path("layout"), workplace.directory());
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6 * 5);
    let index: Value = serde_json::from_slice(&workplace.read("layout/index.json")).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 6 * 5);
    assert_eq!(workplace.list("layout"), ["blobs", "index.json", "oci-layout"]);
}

/// A tmpfs of 300 KiB. It is unmounted when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_an_error_with_the_path() {
    if skip::needs_root() {
        return;
    }
    let workplace = Workplace::new();
    let directory = tempfile::tempdir().unwrap();
    mount("none", directory.path(), "tmpfs", MountFlags::empty(), Some(c"size=300k")).unwrap();
    let disk = SmallDisk(directory);
    let place = disk.0.path().to_str().unwrap();
    add_big_image(&workplace);
    for (from, to) in [
        ("dir:plain", format!("docker-archive:{place}/a.tar:a:b")),
        ("oci:source:big", format!("dir:{place}/dir")),
        ("oci:source:big", format!("oci:{place}/layout:a")),
        ("oci:source:big", format!("oci-archive:{place}/a.tar:a")),
    ] {
        let to = destination(&to, &workplace.options()).unwrap();
        let error = copy(&*workplace.source(from), &*to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{}", error.full_message());
        assert!(error.to_string().contains(place), "{}", error.full_message());
        drop(to);
        assert!(!disk.0.path().join("a.tar").exists() && !disk.0.path().join("dir").exists());
        let names = fs::read_dir(disk.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| name == "layout"));
        if disk.0.path().join("layout").exists() {
            assert_eq!(check_layout(&disk.0.path().join("layout"), workplace.directory()), [""; 0]);
            fs::remove_dir_all(disk.0.path().join("layout")).unwrap();
        }
    }
}

/// Adds an image with a layer that does not compress, as `oci:source:big`.
fn add_big_image(workplace: &Workplace) {
    let mut state = 3;
    let layer: Vec<u8> = (0..100_000).flat_map(|_| random(&mut state).to_le_bytes()).collect();
    let image = Image::of(vec![layer]);
    let to = workplace.destination("oci:source:big");
    let blobs = image.blobs(&MediaType::OCI_LAYER, <[u8]>::to_vec);
    let (manifest, blobs) = blobs.split_last().unwrap();
    for blob in blobs {
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, blob);
        let role = BlobRole::Layer;
        to.put_blob(&mut NewBlob::known(&descriptor, role, &blob[..])).unwrap();
    }
    let (media_type, place) = (MediaType::OCI_MANIFEST, ManifestPlace::Top);
    to.put_manifest(manifest, &media_type, place).unwrap();
    to.commit().unwrap();
}
