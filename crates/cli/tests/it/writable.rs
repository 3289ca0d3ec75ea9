//! `mount --upper --work`: a writable view, over either driver.

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

struct Writable {
    program: Program,
    image: String,
    place: PathBuf,
}

impl Writable {
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

    /// Everything of the program in the table of mounts.
    fn mounts(&self) -> usize {
        let home = self.place.parent().unwrap().to_str().unwrap();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.split(' ').nth(4).is_some_and(|place| place.starts_with(home))).count()
    }

    fn use_it(&self) {
        let path = |name: &str| self.place.join(name);
        assert_eq!(fs::read_to_string(path("etc/motd")).unwrap(), "amd64\n");
        fs::write(path("etc/motd"), "changed\n").unwrap();
        fs::remove_file(path("loop")).unwrap();
        fs::write(path("usr/bin/new"), "new").unwrap();
        assert_eq!(self.mounts(), 1, "the root below is not to be seen");
    }

    fn assert_kept(&self) {
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

impl Drop for Writable {
    fn drop(&mut self) {
        // After a test that failed: the directory could not be removed.
        let _ = unmount(&self.place, UnmountFlags::DETACH);
    }
}

/// The drivers that there are on this machine.
fn drivers() -> &'static [&'static str] {
    if skip::needs_root() || !Path::new("/dev/fuse").exists() && skip::because("needs /dev/fuse") {
        return &[];
    }
    if erofs::cannot_mount() { &["--driver=fuse"] } else { &["--driver=fuse", "--driver=erofs", "--driver=auto"] }
}

#[test]
fn detached_one_umount_takes_everything_away() {
    for driver in drivers() {
        let writable = Writable::new();
        writable.program.ok(writable.arguments(&["--detach", driver]));
        writable.use_it();
        writable.program.ok(["umount".as_ref(), writable.place.as_os_str()]);
        writable.assert_clean();
        writable.assert_kept();
        // What was changed is there the next time.
        writable.program.ok(writable.arguments(&["--detach", driver]));
        assert_eq!(fs::read_to_string(writable.place.join("etc/motd")).unwrap(), "changed\n");
        assert!(writable.place.join("loop").symlink_metadata().is_err());
        writable.program.ok(["umount".as_ref(), writable.place.as_os_str()]);
        writable.assert_clean();
    }
}

#[test]
fn in_the_foreground_signals_and_umount_end_it() {
    for driver in drivers() {
        for signal in [Some(Signal::TERM), Some(Signal::INT), None] {
            let writable = Writable::new();
            let mut child = writable.program.start(writable.arguments(&[driver]));
            wait_until("the mount", || writable.place.join("etc/motd").exists());
            writable.use_it();
            match signal {
                Some(signal) => kill_process(Pid::from_child(&child), signal).unwrap(),
                None => drop(writable.program.ok(["umount".as_ref(), writable.place.as_os_str()])),
            }
            assert!(wait_for(&mut child).success(), "{driver} {signal:?}");
            writable.assert_clean();
            writable.assert_kept();
        }
    }
}

#[test]
fn what_overlayfs_has_a_meaning_of_its_own_for_is_said() {
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
        let why = "overlayfs has a meaning of its own for it";
        let lines = [("dev/nothing", "device"), ("marked", "xattr \"trusted.overlay.origin\"")];
        let lines = lines.map(|(path, what)| format!("not as in the image: {path}: {what} ({why})\n"));
        assert_eq!(answer.stderr, lines.concat());
        assert_eq!(seen, [false, true, true]);
    }
}

#[test]
fn mistakes_are_named_and_leave_nothing() {
    for driver in drivers() {
        let writable = Writable::new();
        let program = &writable.program;
        fs::write(program.path("work"), "no directory").unwrap();
        let message = program.fails(1, writable.arguments(&[driver]));
        assert!(message.contains(program.path("work").to_str().unwrap()), "{message}");
        let message = program.fails(1, writable.arguments(&[driver, "--detach"]));
        assert!(message.contains(program.path("work").to_str().unwrap()), "{message}");
        writable.assert_clean();
        fs::remove_file(program.path("work")).unwrap();
        fs::remove_dir(&writable.place).unwrap();
        let message = program.fails(3, writable.arguments(&[driver]));
        assert!(message.contains(writable.place.to_str().unwrap()), "{message}");
        assert!(!program.path("upper").exists() && !program.path("work").exists());
        writable.assert_clean();
    }
}

#[test]
fn upper_and_work_go_together() {
    let writable = Writable::new();
    let place = writable.place.to_str().unwrap();
    assert!(writable.program.fails(2, ["mount", &writable.image, place, "--upper=/x"]).contains("--work"));
    assert!(writable.program.fails(2, ["mount", &writable.image, place, "--work=/x"]).contains("--upper"));
}
