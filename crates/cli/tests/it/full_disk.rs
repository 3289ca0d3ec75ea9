//! Full disks at every stage of a pull and of an export.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::Program;
use crate::samples::{noisy, serve};

/// The size of the disk in bytes.
const DISK: u64 = 8 << 20;
/// The bytes that are free when a pull starts. The blob, contents, index, root or record is the first that does not
/// fit.
const FREE: [u64; 14] = [
    0, 4_096, 20_000, 50_000, 100_000, 250_000, 400_000, 550_000, 600_000, 650_000, 700_000, 750_000, 1_000_000,
    1_150_000,
];

pub(crate) struct Disk(PathBuf);

impl Disk {
    pub(crate) fn new(place: PathBuf) -> Self {
        fs::create_dir(&place).unwrap();
        let size = std::ffi::CString::new(format!("size={DISK}")).unwrap();
        mount("none", &place, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).unwrap();
        Self(place)
    }

    /// Fills the disk until `left` bytes are free.
    pub(crate) fn fill(&self, left: u64) {
        let statvfs = rustix::fs::statvfs(&self.0).unwrap();
        let free = statvfs.f_bavail * statvfs.f_frsize;
        let mut filler = File::create(self.0.join("filler")).unwrap();
        std::io::copy(&mut std::io::Read::take(std::io::repeat(1), free.saturating_sub(left)), &mut filler).unwrap();
        filler.flush().unwrap();
    }

    /// Fills what has become free.
    fn fill_again(&self) {
        let mut filler = fs::OpenOptions::new().append(true).open(self.0.join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A failed test may have left files open: the directory could not be removed while it is mounted.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn full_disk_is_reported_and_damages_nothing() {
    if skip::needs_root() {
        return;
    }
    let registry = Registry::start();
    let image = noisy(2, 300_000);
    let reference = serve(&registry, &image, "v1");
    let mut failures = 0;
    for left in FREE {
        let program = Program::new();
        let place = program.path("disk");
        let disk = Disk::new(place.clone());
        let program = program.with_cache(place.join("cache"));
        program.ok(["images"]);
        disk.fill(left);
        let pull = ["pull", &reference, "--arch=amd64"];
        let answer = program.run(pull);
        if !answer.status.success() {
            failures += 1;
            let message = answer.fails(1);
            assert!(message.contains("No space left on device"), "{left}: {message}");
            assert!(message.contains(place.to_str().unwrap()), "{left}: the message names a path: {message}");
        }
        disk.free();
        assert_eq!(program.findings(), json!([]), "{left}");
        assert_eq!(program.ok(pull).trim(), image.config_digest.to_string(), "{left}");
        assert_eq!(program.findings(), json!([]), "{left}");
        assert_eq!(program.run(["cat", &reference, "1-0", "--arch=amd64"]).stdout.len(), 37_500);
    }
    assert!(failures > FREE.len() / 2, "{failures}: the disk is too large for this test");
}

#[test]
fn export_to_a_full_disk_is_reported_and_leaves_no_file() {
    if skip::needs_root() || skip::needs_program("sqfstar") {
        return;
    }
    let registry = Registry::start();
    let reference = serve(&registry, &noisy(2, 1_500_000), "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    let place = program.path("disk");
    let disk = Disk::new(place.clone());
    let out = place.join("image");
    for format in ["ext4", "squashfs"] {
        let export = ["export", &reference, out.to_str().unwrap(), "--arch=amd64", "--format", format];
        for left in [0, 8192, 500_000, 1_400_000] {
            disk.fill(left);
            let message = program.run(export).fails(1);
            assert!(message.contains("No space left on device"), "{format}, {left}: {message}");
            assert!(message.contains(out.to_str().unwrap()), "{format}, {left}: the message names the file: {message}");
            disk.free();
            assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "{format}, {left}");
        }
        program.ok(export);
        fs::remove_file(&out).unwrap();
    }
}

/// Removal needs no space, so that it can make room.
#[test]
fn a_full_disk_can_be_emptied() {
    if skip::needs_root() {
        return;
    }
    let registry = Registry::start();
    let program = Program::new();
    let disk = Disk::new(program.path("disk"));
    let program = program.with_cache(disk.0.join("cache"));
    let references: Vec<_> =
        (1..=4).map(|number| serve(&registry, &noisy(number, 100_000), &format!("v{number}"))).collect();
    for reference in &references {
        program.ok(["pull", reference, "--arch=amd64"]);
    }
    let second_name = serve(&registry, &noisy(3, 100_000), "v5");
    program.ok(["pull", &second_name, "--arch=amd64"]);
    program.ok(["lease", "create", "--id=kept", &references[0]]);
    disk.fill(0);
    let message = program.fails(1, ["lease", "create", "--id=new", &references[2]]);
    assert!(message.contains("leases") && message.contains("No space left"), "{message}");
    program.ok(["rm", &references[1]]);
    disk.fill_again();
    assert_eq!(program.json(["lease", "list", "--json"]).as_array().unwrap().len(), 1);
    // The names of one image, which are otherwise removed as one transaction.
    let id = noisy(3, 100_000).config_digest.hex();
    assert_eq!(program.ok(["rm", &id[..12]]).lines().count(), 2);
    disk.fill_again();
    let collected = program.json(["gc", "--unused", "--json"]);
    assert_eq!(
        (collected["images"].as_array().unwrap().len(), &collected["kept"][0]["heldBy"][0]["id"]),
        (1, &json!("kept"))
    );
    let shown = program.run(["cat", &references[0], "0-0", "--pull=never", "--arch=amd64"]);
    assert_eq!(shown.stdout.len(), 12_500, "{shown}");
    program.ok(["lease", "release", "kept"]);
    program.ok(["rm", &references[0]]);
    program.ok(["gc"]);
    assert_eq!(program.json(["df", "--json"])["blobs"]["files"], 0);
    disk.free();
    assert_eq!(program.findings(), json!([]));
    drop(disk);
}
