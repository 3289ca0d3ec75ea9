//! `mount` and `umount`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{Answer, Program, wait_for, wait_until};
use crate::samples::{image, serve};

/// Whether this machine cannot mount by FUSE.
fn cannot_mount() -> bool {
    if OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return skip::because("needs /dev/fuse");
    }
    !rustix::process::geteuid().is_root() && skip::needs_program("fusermount3")
}

struct Mountable {
    program: Program,
    image: String,
    place: PathBuf,
}

impl Mountable {
    fn new() -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        let place = program.path("mounted on");
        fs::create_dir(&place).unwrap();
        Self { program, image, place }
    }

    fn arguments<'a>(&'a self, more: &'a [&'a str]) -> Vec<&'a str> {
        ["mount", &self.image, self.place.to_str().unwrap()].into_iter().chain(more.iter().copied()).collect()
    }

    fn is_mounted(&self) -> bool {
        self.place.join("etc/motd").exists()
    }

    fn is_in_table(&self) -> bool {
        // Blanks are written in octal there.
        let place = self.place.to_str().unwrap().replace(' ', "\\040");
        fs::read_to_string("/proc/self/mountinfo").unwrap().lines().any(|line| line.contains(&place))
    }
}

impl Drop for Mountable {
    fn drop(&mut self) {
        if self.is_in_table() {
            // After a test that failed: the directory could not be removed.
            let _ = rustix::mount::unmount(&self.place, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// With pipes for output, as when a script captures it: they end when the command does.
#[test]
fn detached_it_returns_when_the_mount_answers() {
    if cannot_mount() {
        return;
    }
    let mountable = Mountable::new();
    let answer: Answer = mountable.program.run(mountable.arguments(&["--detach", "--driver=fuse"]));
    assert_eq!((answer.stdout.as_slice(), answer.stderr.as_str()), (&b""[..], ""));
    assert!(answer.status.success());
    assert_eq!(fs::read_to_string(mountable.place.join("etc/motd")).unwrap(), "amd64\n");
    assert!(fs::write(mountable.place.join("etc/motd"), "x").is_err());
    // What is mounted is not removed.
    mountable.program.ok(["rm", &mountable.image]);
    mountable.program.fails(1, ["gc"]);
    mountable.program.ok(["umount".as_ref(), mountable.place.as_os_str()]);
    assert!(!mountable.is_mounted() && !mountable.is_in_table());
    wait_until("the process that served it to end", || mountable.program.run(["gc"]).status.success());
}

#[test]
fn in_the_foreground_signals_end_it() {
    if cannot_mount() {
        return;
    }
    for (signal, driver) in [(Signal::TERM, "--driver=fuse"), (Signal::INT, "--driver=auto")] {
        let mountable = Mountable::new();
        let mut child = mountable.program.start(mountable.arguments(&[driver]));
        wait_until("the mount", || mountable.is_mounted());
        send(&child, signal);
        assert!(wait_for(&mut child).success(), "{signal:?}");
        assert!(!mountable.is_in_table(), "{signal:?}");
    }
}

#[test]
fn in_the_foreground_umount_ends_it() {
    if cannot_mount() {
        return;
    }
    for driver in ["--driver=fuse", "--driver=auto"] {
        let mountable = Mountable::new();
        let mut child = mountable.program.start(mountable.arguments(&[driver]));
        wait_until("the mount", || mountable.is_mounted());
        mountable.program.ok(["umount".as_ref(), mountable.place.as_os_str()]);
        assert!(wait_for(&mut child).success(), "{driver}");
    }
}

#[test]
fn what_cannot_be_mounted_says_why() {
    if cannot_mount() {
        return;
    }
    let mountable = Mountable::new();
    let missing = mountable.place.join("missing");
    for flags in [&["--driver=fuse"][..], &["--driver=fuse", "--detach"], &[], &["--detach"]] {
        let arguments = ["mount", &mountable.image, missing.to_str().unwrap()];
        let message = mountable.program.fails(3, arguments.iter().chain(flags));
        assert!(message.contains(missing.to_str().unwrap()), "{message}");
        let arguments = ["mount", "localhost:1/none", mountable.place.to_str().unwrap(), "--pull=never"];
        mountable.program.fails(3, arguments.iter().chain(flags));
    }
    let message = mountable.program.fails(1, ["umount".as_ref(), mountable.place.as_os_str()]);
    assert!(message.contains(mountable.place.to_str().unwrap()), "{message}");
    assert!(Path::new(&mountable.place).exists());
}

/// The root directory by any of its names: a mount there would hide every file of the machine. An image that is not
/// here, so that nothing would be mounted even if this were not refused.
#[test]
fn the_root_directory_of_the_machine_is_refused() {
    let program = Program::new();
    let link = program.path("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    for place in ["/", "//", "/..", "/proc/../.", link.to_str().unwrap()] {
        for flags in [&[][..], &["--detach"], &["--driver=fuse"], &["--upper=u", "--work=w"]] {
            let arguments = ["mount", "localhost:1/none", place, "--pull=never"];
            let message = program.fails(1, arguments.iter().chain(flags));
            assert!(message.contains("would hide all files of this machine"), "{place} {flags:?}: {message}");
        }
    }
}
