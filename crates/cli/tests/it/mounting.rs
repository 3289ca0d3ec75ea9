//! `mount` and `umount`.

use std::fs;
use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::mounted::{MountTest, cannot_mount};
use crate::program::{CommandOutput, Program, wait_for, wait_until};

/// Returns whether the kernel lists a mount.
fn is_in_table(test: &MountTest) -> bool {
    // The table writes blanks in octal.
    let place = test.place.to_str().unwrap().replace(' ', "\\040");
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().any(|line| line.contains(&place))
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
    let test = MountTest::new("mounted on");
    let answer: CommandOutput = test.program.run(test.arguments(&["--detach", "--driver=fuse"]));
    assert_eq!((answer.stdout.as_slice(), answer.stderr.as_str()), (&b""[..], ""));
    assert!(answer.status.success());
    assert_eq!(fs::read_to_string(test.place.join("etc/motd")).unwrap(), "amd64\n");
    assert!(fs::write(test.place.join("etc/motd"), "x").is_err());
    // The files of a mounted image are not removed.
    let purpose = format!("(vmroot mount {})", test.place.display());
    let message = test.program.fails(1, ["rm", &test.image]);
    assert!(message.contains("in use by process ") && message.contains(&purpose), "{message}");
    let removed = test.program.run(["rm", "--force", &test.image]);
    assert!(removed.status.success() && removed.stderr.contains(&purpose), "{removed}");
    let collected = test.program.json(["gc", "--json"]);
    assert_eq!((&collected["files"], &collected["heldBy"][0]["kind"]), (&json!([]), &json!("process")), "{collected}");
    assert_eq!(fs::read_to_string(test.place.join("etc/motd")).unwrap(), "amd64\n");
    test.program.ok(["umount".as_ref(), test.place.as_os_str()]);
    assert!(!test.is_mounted() && !is_in_table(&test));
    let file_count = || test.program.json(["gc", "--json"])["files"].as_array().unwrap().len();
    wait_until("the process that served it to end", || file_count() > 0);
}

#[test]
fn signals_end_a_foreground_mount() {
    if cannot_mount() {
        return;
    }
    for (signal, driver) in [(Signal::TERM, "--driver=fuse"), (Signal::INT, "--driver=auto")] {
        let test = MountTest::new("mounted on");
        let mut child = test.program.start(test.arguments(&[driver]));
        wait_until("the mount", || test.is_mounted());
        send(&child, signal);
        assert!(wait_for(&mut child).success(), "{signal:?}");
        assert!(!is_in_table(&test), "{signal:?}");
    }
}

#[test]
fn umount_ends_a_foreground_mount() {
    if cannot_mount() {
        return;
    }
    for driver in ["--driver=fuse", "--driver=auto"] {
        let test = MountTest::new("mounted on");
        let mut child = test.program.start(test.arguments(&[driver]));
        wait_until("the mount", || test.is_mounted());
        test.program.ok(["umount".as_ref(), test.place.as_os_str()]);
        assert!(wait_for(&mut child).success(), "{driver}");
    }
}

#[test]
fn mount_errors_name_the_cause() {
    if cannot_mount() {
        return;
    }
    let test = MountTest::new("mounted on");
    let missing = test.place.join("missing");
    for flags in [&["--driver=fuse"][..], &["--driver=fuse", "--detach"], &[], &["--detach"]] {
        let arguments = ["mount", &test.image, missing.to_str().unwrap()];
        let message = test.program.fails(3, arguments.iter().chain(flags));
        assert!(message.contains(missing.to_str().unwrap()), "{message}");
        let arguments = ["mount", "localhost:1/none", test.place.to_str().unwrap(), "--pull=never"];
        test.program.fails(3, arguments.iter().chain(flags));
    }
    let message = test.program.fails(3, ["umount".as_ref(), test.place.as_os_str()]);
    assert!(message.contains(test.place.to_str().unwrap()), "{message}");
    assert!(Path::new(&test.place).exists());
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
