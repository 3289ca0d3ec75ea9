//! `mount` and `umount`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{CommandOutput, Program, wait_for, wait_until};
use crate::samples::{image, serve};

/// Returns whether this machine cannot mount with FUSE.
pub(crate) fn cannot_mount() -> bool {
    if OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return skip::because("needs /dev/fuse");
    }
    !rustix::process::geteuid().is_root() && skip::needs_program("fusermount3")
}

struct MountTest {
    program: Program,
    image: String,
    mountpoint: PathBuf,
}

impl MountTest {
    fn new() -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        let mountpoint = program.path("mounted on");
        fs::create_dir(&mountpoint).unwrap();
        Self { program, image, mountpoint }
    }

    fn arguments<'a>(&'a self, more: &'a [&'a str]) -> Vec<&'a str> {
        ["mount", &self.image, self.mountpoint.to_str().unwrap()].into_iter().chain(more.iter().copied()).collect()
    }

    fn is_mounted(&self) -> bool {
        self.mountpoint.join("etc/motd").exists()
    }

    fn is_in_table(&self) -> bool {
        // The table writes blanks in octal.
        let mountpoint = self.mountpoint.to_str().unwrap().replace(' ', "\\040");
        fs::read_to_string("/proc/self/mountinfo").unwrap().lines().any(|line| line.contains(&mountpoint))
    }
}

impl Drop for MountTest {
    fn drop(&mut self) {
        if self.is_in_table() {
            // After a failed test: the directory could not be removed while it is mounted.
            let _ = rustix::mount::unmount(&self.mountpoint, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Output goes to pipes, as in a script that captures it. They close when the command ends.
#[test]
fn detached_mount_returns_once_it_is_ready() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::new();
    let answer: CommandOutput = test.program.run(test.arguments(&["--detach", "--driver=fuse"]));
    assert_eq!((answer.stdout.as_slice(), answer.stderr.as_str()), (&b""[..], ""));
    assert!(answer.status.success());
    assert_eq!(fs::read_to_string(test.mountpoint.join("etc/motd")).unwrap(), "amd64\n");
    assert!(fs::write(test.mountpoint.join("etc/motd"), "x").is_err());
    // The files of a mounted image are not removed.
    let purpose = format!("(vmroot mount {})", test.mountpoint.display());
    let message = test.program.fails(1, ["rm", &test.image]);
    assert!(message.contains("in use by process ") && message.contains(&purpose), "{message}");
    let removed = test.program.run(["rm", "--force", &test.image]);
    assert!(removed.status.success() && removed.stderr.contains(&purpose), "{removed}");
    let collected = test.program.json(["gc", "--json"]);
    assert_eq!((&collected["files"], &collected["heldBy"][0]["kind"]), (&json!([]), &json!("process")), "{collected}");
    assert_eq!(fs::read_to_string(test.mountpoint.join("etc/motd")).unwrap(), "amd64\n");
    test.program.ok(["umount".as_ref(), test.mountpoint.as_os_str()]);
    assert!(!test.is_mounted() && !test.is_in_table());
    let file_count = || test.program.json(["gc", "--json"])["files"].as_array().unwrap().len();
    wait_until("the process that served it to end", || file_count() > 0);
}

#[test]
fn signals_end_a_foreground_mount() {
    if cannot_mount() {
        return;
    }
    for (signal, driver) in [(Signal::TERM, "--driver=fuse"), (Signal::INT, "--driver=auto")] {
        let test = MountTest::new();
        let mut child = test.program.start(test.arguments(&[driver]));
        wait_until("the mount", || test.is_mounted());
        send(&child, signal);
        assert!(wait_for(&mut child).success(), "{signal:?}");
        assert!(!test.is_in_table(), "{signal:?}");
    }
}

#[test]
fn umount_ends_a_foreground_mount() {
    if cannot_mount() {
        return;
    }
    for driver in ["--driver=fuse", "--driver=auto"] {
        let test = MountTest::new();
        let mut child = test.program.start(test.arguments(&[driver]));
        wait_until("the mount", || test.is_mounted());
        test.program.ok(["umount".as_ref(), test.mountpoint.as_os_str()]);
        assert!(wait_for(&mut child).success(), "{driver}");
    }
}

#[test]
fn mount_errors_name_the_cause() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::new();
    let missing = test.mountpoint.join("missing");
    for flags in [&["--driver=fuse"][..], &["--driver=fuse", "--detach"], &[], &["--detach"]] {
        let arguments = ["mount", &test.image, missing.to_str().unwrap()];
        let message = test.program.fails(3, arguments.iter().chain(flags));
        assert!(message.contains(missing.to_str().unwrap()), "{message}");
        let arguments = ["mount", "localhost:1/none", test.mountpoint.to_str().unwrap(), "--pull=never"];
        test.program.fails(3, arguments.iter().chain(flags));
    }
    let message = test.program.fails(3, ["umount".as_ref(), test.mountpoint.as_os_str()]);
    assert!(message.contains(test.mountpoint.to_str().unwrap()), "{message}");
    assert!(Path::new(&test.mountpoint).exists());
}

/// The root directory by several paths. A mount there would hide every file of the machine. The image is missing, so
/// that nothing would be mounted even without the check.
#[test]
fn root_directory_is_no_mountpoint() {
    let program = Program::new();
    let link = program.path("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    for mountpoint in ["/", "//", "/..", "/proc/../.", link.to_str().unwrap()] {
        for flags in [&[][..], &["--detach"], &["--driver=fuse"], &["--upper=u", "--work=w"]] {
            let arguments = ["mount", "localhost:1/none", mountpoint, "--pull=never"];
            let message = program.fails(1, arguments.iter().chain(flags));
            assert!(message.contains("would hide all files of this machine"), "{mountpoint} {flags:?}: {message}");
        }
    }
}
