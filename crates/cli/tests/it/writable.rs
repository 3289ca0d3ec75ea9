//! `mount --upper --work`: writable views, with both drivers.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{Program, wait_for, wait_until};
use crate::samples::{image, serve};
use crate::{erofs, same_tree};

struct ViewTest {
    program: Program,
    image: String,
    place: PathBuf,
}

impl ViewTest {
    fn new() -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        let place = program.path("place");
        fs::create_dir(&place).unwrap();
        Self { program, image, place }
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let option = |name: &str| format!("--{name}={}", self.program.path(name).display());
        let place = self.place.display().to_string();
        let arguments = ["mount".to_owned(), self.image.clone(), place, option("upper"), option("work")];
        arguments.into_iter().chain(more.iter().map(|&more| more.to_owned())).collect()
    }

    /// Returns the number of mounts of the program.
    fn mounts(&self) -> usize {
        let home = self.place.parent().unwrap().to_str().unwrap();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.split(' ').nth(4).is_some_and(|place| place.starts_with(home))).count()
    }

    fn change_files(&self) {
        let path = |name: &str| self.place.join(name);
        assert_eq!(fs::read_to_string(path("etc/motd")).unwrap(), "amd64\n");
        fs::write(path("etc/motd"), "changed\n").unwrap();
        fs::remove_file(path("loop")).unwrap();
        fs::write(path("usr/bin/new"), "new").unwrap();
        assert_eq!(self.mounts(), 1, "the root below the view is not in the table");
    }

    fn assert_changes_kept(&self) {
        let upper = self.program.path("upper");
        assert_eq!(fs::read_to_string(upper.join("etc/motd")).unwrap(), "changed\n");
        assert_eq!(fs::read_to_string(upper.join("usr/bin/new")).unwrap(), "new");
        assert!(upper.join("loop").symlink_metadata().is_ok());
    }

    fn assert_clean(&self) {
        assert_eq!(self.mounts(), 0);
        wait_until("the processes to end", || self.program.run(["gc"]).status.success());
        let names = fs::read_dir(self.program.cache()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.as_encoded_bytes().starts_with(b".tmp")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for ViewTest {
    fn drop(&mut self) {
        // After a failed test: the directory could not be removed while it is mounted.
        let _ = unmount(&self.place, UnmountFlags::DETACH);
    }
}

/// Returns the drivers that this machine supports.
fn drivers() -> &'static [&'static str] {
    if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return &[];
    }
    if erofs::cannot_mount() { &["--driver=fuse"] } else { &["--driver=fuse", "--driver=erofs", "--driver=auto"] }
}

#[test]
fn one_umount_ends_a_detached_view() {
    for driver in drivers() {
        let test = ViewTest::new();
        test.program.ok(test.arguments(&["--detach", driver]));
        test.change_files();
        test.program.ok(["umount".as_ref(), test.place.as_os_str()]);
        test.assert_clean();
        test.assert_changes_kept();
        // The next mount shows the changes.
        test.program.ok(test.arguments(&["--detach", driver]));
        assert_eq!(fs::read_to_string(test.place.join("etc/motd")).unwrap(), "changed\n");
        assert!(test.place.join("loop").symlink_metadata().is_err());
        test.program.ok(["umount".as_ref(), test.place.as_os_str()]);
        test.assert_clean();
    }
}

#[test]
fn signals_and_umount_end_a_foreground_view() {
    for driver in drivers() {
        for signal in [Some(Signal::TERM), Some(Signal::INT), None] {
            let test = ViewTest::new();
            let mut child = test.program.start(test.arguments(&[driver]));
            wait_until("the mount", || test.place.join("etc/motd").exists());
            test.change_files();
            match signal {
                Some(signal) => kill_process(Pid::from_child(&child), signal).unwrap(),
                None => drop(test.program.ok(["umount".as_ref(), test.place.as_os_str()])),
            }
            assert!(wait_for(&mut child).success(), "{driver} {signal:?}");
            test.assert_clean();
            test.assert_changes_kept();
        }
    }
}

#[test]
fn files_that_overlayfs_interprets_are_reported() {
    for driver in drivers() {
        let program = Program::new();
        let layer = Layer::new([
            Entry::char_device("dev/nothing", 0, 0),
            Entry::char_device("dev/null", 1, 3),
            Entry::file("marked", "x").xattr("trusted.overlay.origin", "y"),
            Entry::file("plain", "x").xattr("trusted.other", "y"),
        ]);
        same_tree::load(&program, &[layer], &Encoding::default());
        let [place, upper, work] = ["place", "upper", "work"].map(|name| program.path(name));
        for directory in [&place, &upper, &work] {
            fs::create_dir(directory).unwrap();
        }
        let [upper, work] =
            [("upper", upper), ("work", work)].map(|(name, path)| format!("--{name}={}", path.display()));
        let place = place.to_str().unwrap();
        let answer =
            program.run(["mount", "example.org/stack:v1", place, &upper, &work, "--detach", "--suid-dev", driver]);
        let seen = ["dev/nothing", "dev/null", "marked"].map(|name| Path::new(place).join(name).exists());
        program.ok(["umount", place]);
        assert!(answer.status.success(), "{answer}");
        let why = "overlayfs interprets it itself";
        let lines = [("dev/nothing", "device"), ("marked", "xattr \"trusted.overlay.origin\"")];
        let lines = lines.map(|(path, what)| format!("not as in the image: {path}: {what} ({why})\n"));
        assert_eq!(answer.stderr, lines.concat());
        assert_eq!(seen, [false, true, true]);
    }
}

#[test]
fn errors_name_the_argument_and_leave_no_mount() {
    for driver in drivers() {
        let test = ViewTest::new();
        let program = &test.program;
        fs::write(program.path("work"), "no directory").unwrap();
        let message = program.fails(1, test.arguments(&[driver]));
        assert!(message.contains(program.path("work").to_str().unwrap()), "{message}");
        let message = program.fails(1, test.arguments(&[driver, "--detach"]));
        assert!(message.contains(program.path("work").to_str().unwrap()), "{message}");
        test.assert_clean();
        fs::remove_file(program.path("work")).unwrap();
        fs::remove_dir(&test.place).unwrap();
        let message = program.fails(3, test.arguments(&[driver]));
        assert!(message.contains(test.place.to_str().unwrap()), "{message}");
        assert!(!program.path("upper").exists() && !program.path("work").exists());
        test.assert_clean();
    }
}

#[test]
fn upper_requires_work() {
    let test = ViewTest::new();
    let place = test.place.to_str().unwrap();
    let directory = format!("--upper={}", test.program.cache().display());
    assert!(test.program.fails(2, ["mount", &test.image, place, &directory]).contains("--work"));
    assert!(test.program.fails(2, ["mount", &test.image, place, "--work=/x"]).contains("--upper"));
}

/// A disk as `boot --upper` has it, made by the mount.
#[test]
fn view_keeps_its_changes_on_a_disk() {
    if drivers().is_empty() || !Path::new("/dev/loop-control").exists() && skip::because("needs loop devices") {
        return;
    }
    let test = ViewTest::new();
    let (disk, place) = (test.program.path("disk.ext4"), test.place.display().to_string());
    let upper = format!("--upper={}", disk.display());
    let mount = |image: &str, more: &[&str]| {
        let arguments = ["mount", image, &place, "--detach", &upper];
        test.program.run(arguments.into_iter().chain(more.iter().copied()))
    };
    let message = mount(&test.image, &[]).fails(3);
    assert!(message.contains("no such disk") && message.contains("--upper-size"), "{message}");
    mount(&test.image, &["--upper-size=64M"]).ok();
    test.change_files();
    // The disk is locked as long as it is mounted.
    let message = mount(&test.image, &["--force"]).fails(1);
    assert!(message.contains("in use by another guest or mount"), "{message}");
    test.program.ok(["umount", &place]);
    test.assert_clean();
    wait_until("the loop device to be free", || fs::File::open(&disk).unwrap().try_lock().is_ok());
    mount(&test.image, &[]).ok();
    assert_eq!(fs::read_to_string(test.place.join("etc/motd")).unwrap(), "changed\n");
    assert!(test.place.join("loop").symlink_metadata().is_err());
    test.program.ok(["umount", &place]);
    wait_until("the loop device to be free", || fs::File::open(&disk).unwrap().try_lock().is_ok());
    let registry = Registry::start();
    let other = serve(&registry, &image("arm64"), "v2");
    test.program.ok(["pull", &other, "--arch=arm64"]);
    let message = mount(&other, &["--arch=arm64"]).fails(1);
    assert!(message.contains("made over ") && message.contains("hint: --rebase"), "{message}");
    let output = std::process::Command::new("/sbin/e2fsck").arg("-fn").arg(&disk).output();
    assert!(output.is_err() || output.unwrap().status.success(), "the file system is not clean");
}
