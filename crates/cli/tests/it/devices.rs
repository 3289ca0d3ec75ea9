//! Exports to devices: success means that the data is on the device, and an error of the device is an error.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::program::{CommandOutput, Program};
use crate::same_tree::load;

const IMAGE: &str = "example.org/stack:v1";

/// A loop device over a file, which is detached on drop.
struct Loop {
    path: PathBuf,
    /// Kept open: the kernel flushes a device's cache when its last user closes it.
    _open: File,
}

impl Loop {
    fn over(file: &Path) -> Self {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let _open = File::open(&path).unwrap();
        Self { path, _open }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // The device is detached when it is closed. The error is ignored: a test has failed already.
        let _ = Command::new("losetup").arg("--detach").arg(&self.path).status();
    }
}

fn program() -> Program {
    let program = Program::new();
    let files = (0..4).map(|number| Entry::file(number.to_string(), noise(number, 700_000)).owner(number as u32, 9));
    load(&program, &[Layer::new(files)], &Encoding::default());
    program
}

fn forms() -> Vec<&'static [&'static str]> {
    let mut forms: Vec<&[&str]> = vec![
        &["--format=erofs"],
        &["--format=erofs", "--compress=lz4"],
        &["--format=ext4"],
        &["--format=tar"],
        &["--format=cpio.zst"],
    ];
    if !skip::needs_program("sqfstar") {
        forms.push(&["--format=squashfs"]);
    }
    forms
}

fn export(program: &Program, out: &Path, form: &[&str]) -> CommandOutput {
    program.run([&["export", "--force", IMAGE, out.to_str().unwrap()], form].concat())
}

#[test]
fn success_means_that_data_is_on_the_device() {
    if skip::needs_root() || skip::needs_program("losetup") {
        return;
    }
    let program = program();
    for form in forms() {
        let image = program.path("image");
        assert!(export(&program, &image, form).status.success());
        let image = fs::read(&image).unwrap();
        let disk = program.file("disk", vec![0xaa; 16 << 20]);
        let device = Loop::over(&disk);
        let answer = export(&program, &device.path, form);
        // Read from the file below, not from the device's cache.
        let written = fs::read(&disk).unwrap();
        assert!(answer.status.success(), "{form:?}: {answer}");
        assert!(written[..image.len()] == image, "{form:?}: bytes are missing");
        drop(device);
    }
}

#[test]
fn device_as_standard_output() {
    if skip::needs_root() || skip::needs_program("losetup") {
        return;
    }
    let program = program();
    let tar = program.run(["export", IMAGE, "-", "--format=tar"]).stdout;
    let disk = program.file("disk", vec![0xaa; 16 << 20]);
    let device = Loop::over(&disk);
    let stdout = File::options().write(true).open(&device.path).unwrap();
    let status = program.command(["export", IMAGE, "-", "--format=tar"]).stdout(stdout).status().unwrap();
    let written = fs::read(&disk).unwrap();
    assert!(status.success());
    assert!(written[..tar.len()] == tar, "bytes are missing");
}

/// A sparse file on a full disk: the loop device caches every write, and fails to write them back.
#[test]
fn write_back_error_is_an_error() {
    if skip::needs_root() || skip::needs_program("losetup") {
        return;
    }
    let program = program();
    let place = program.path("full");
    fs::create_dir(&place).unwrap();
    for form in forms() {
        mount("none", &place, "tmpfs", MountFlags::empty(), Some(c"size=1m")).unwrap();
        let disk = place.join("disk");
        File::create(&disk).unwrap().set_len(16 << 20).unwrap();
        let device = Loop::over(&disk);
        let answer = export(&program, &device.path, form);
        drop(device);
        unmount(&place, UnmountFlags::DETACH).unwrap();
        assert!(answer.stderr.contains("loop"), "{form:?}: {answer}");
        answer.fails(1);
    }
}
