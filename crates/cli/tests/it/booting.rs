//! `boot`: guests under QEMU's translator, which works on every machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use vmroot_testkit::guest::Guest;

use crate::program::{CommandOutput, Program, wait_for, wait_until};

/// The image of the README, with a busybox, a user and an entrypoint.
const IMAGE: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

pub(crate) struct BootTest {
    pub(crate) program: Program,
    pub(crate) guest: Guest,
}

impl BootTest {
    /// Returns `None` if the test has to be skipped.
    #[track_caller]
    pub(crate) fn new(architecture: &str) -> Option<Self> {
        Some(Self { guest: Guest::of(architecture)?, program: Program::new() })
    }

    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<String> {
        let kernel = self.guest.kernel().into_os_string().into_string().unwrap();
        let first = ["boot", IMAGE, "--progress=none", "--accel=tcg", "--kernel", &kernel];
        first.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    pub(crate) fn run(&self, more: &[&str]) -> CommandOutput {
        self.program.run(self.arguments(more))
    }

    fn start(&self, more: &[&str]) -> Child {
        self.program.start(self.arguments(more))
    }

    /// Returns the temporary files of boots in the cache.
    fn temporary_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.program.cache()).unwrap().flatten().map(|entry| entry.path());
        entries
            .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp")))
            .collect()
    }

    /// Returns whether a QEMU with files of this cache runs.
    fn is_qemu_running(&self) -> bool {
        let cache = self.program.cache().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let line = |path: &Path| fs::read(path.join("cmdline")).unwrap_or_default();
        processes.map(|process| line(&process.path())).any(|line| {
            let line = String::from_utf8_lossy(&line);
            line.starts_with("qemu-system-") && line.contains(cache)
        })
    }
}

#[test]
fn command_runs_with_the_config_of_the_image() {
    let Some(test) = BootTest::new("amd64") else { return };
    let file = test.program.file("added", "from outside\n");
    let add = format!("{}:/etc/added", file.display());
    let script = "id -u; pwd; echo $GREETING; cat /etc/added; echo to stderr >&2; exit 42";
    let answer = test.run(&["--add", &add, "--", "-c", script]);
    let expected = "1000\n/home/demo\nhello from vmroot\nfrom outside\nto stderr\n";
    assert_eq!(
        (answer.status.code(), String::from_utf8_lossy(&answer.stdout).as_ref()),
        (Some(42), expected),
        "{answer}"
    );
    assert_eq!(answer.stderr, "");
    assert_eq!(test.temporary_files(), [] as [&Path; 0]);
}

#[test]
fn guest_resolves_the_user_for_every_form() {
    let Some(test) = BootTest::new("amd64") else { return };
    let prebaked = test.program.path("prebaked");
    test.program.ok(["export", IMAGE, prebaked.to_str().unwrap(), "--format=prebaked", "--arch=amd64"]);
    let users = test.program.file("passwd", "root:x:0:0::/:/bin/sh\ndemo:x:1234:50::/:/bin/sh\n");
    let mut arguments = test.arguments(&["--add", &format!("{}:/etc/passwd", users.display()), "--", "-c", "id -u"]);
    arguments[1] = format!("prebaked:{}", prebaked.display());
    assert_eq!(test.program.ok(arguments), "1234\n");
}

#[test]
fn pipe_passes_through_a_guest() {
    let Some(test) = BootTest::new("amd64") else { return };
    let input: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let arguments = test.arguments(&["--via=cpio", "--entrypoint=/bin/cat"]);
    let answer = test.program.run_with_input(arguments, &input);
    assert!(answer.status.success() && answer.stdout == input, "{answer}");
}

#[test]
fn missing_command_is_reported() {
    let Some(test) = BootTest::new("amd64") else { return };
    let answer = test.run(&["--via=virtiofs", "--entrypoint=/no/such"]);
    assert_eq!((answer.status.code(), answer.stdout.as_slice()), (Some(127), &b""[..]), "{answer}");
    assert!(answer.stderr.starts_with("vmroot: /no/such: "), "{answer}");
}

#[test]
fn guest_of_another_architecture_runs() {
    let Some(test) = BootTest::new("arm64") else { return };
    // By the image's shell, and without an option for the architecture.
    let script = "#!/bin/sh\nuname -m\necho '[vmroot-init] exit code 9'\nmount -t proc proc /proc\n\
                  echo 0 >/proc/sys/kernel/printk\npoweroff -f\n";
    let init = test.program.file("init", script);
    let answer = test.run(&["--via=cpio", "--init", init.to_str().unwrap()]);
    assert_eq!((answer.status.code(), answer.stdout.as_slice()), (Some(9), &b"aarch64\r\n"[..]), "{answer}");
}

#[test]
fn guest_ends_with_the_program() {
    let Some(test) = BootTest::new("amd64") else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        let mut child = test.start(&["--", "-c", "echo begun; sleep 1000"]);
        let mut begun = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"begun\n");
        assert!(test.is_qemu_running());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = wait_for(&mut child);
        assert_eq!(status.code(), (signal == Signal::TERM).then_some(130), "{signal:?}");
        wait_until("the end of the machine", || !test.is_qemu_running());
        assert_eq!(test.temporary_files().is_empty(), signal == Signal::TERM, "{signal:?}");
    }
    // The next boot removes the temporary files.
    test.program.ok(["images"]);
    test.program.ok(["gc"]);
    assert_eq!(test.temporary_files(), [] as [&Path; 0]);
}

#[test]
fn timeout_ends_the_guest_with_code_124() {
    let Some(test) = BootTest::new("amd64") else { return };
    let message = test.run(&["--timeout=0.5"]).fails(124);
    assert!(
        message.starts_with("vmroot: the guest was still running after 0.5 seconds\nhint: --timeout "),
        "{message}"
    );
}

/// An interactive session.
#[test]
fn shell_is_interactive_on_a_terminal() {
    let Some(test) = BootTest::new("amd64") else { return };
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let far =
        File::options().read(true).write(true).open(ptsname(&near, Vec::new()).unwrap().to_str().unwrap()).unwrap();
    let mut command = test.program.command(test.arguments(&["--entrypoint=/bin/sh"]));
    command.env("TERM", "vt100").stdin(far.try_clone().unwrap()).stdout(far).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut terminal = Terminal { line: File::from(near), seen: String::new() };
    terminal.wait_for("$ ");
    // The guest echoes the line, so the command's output must differ from its text.
    terminal.send("echo $((6 * 7)) $TERM\r");
    terminal.wait_for("42 vt100");
    // In a shell of its own: an interactive shell that has not started the sleep yet would survive the Ctrl-C.
    terminal.send("sh -c 'echo be$((1))gun; exec sleep 1000'\r");
    terminal.wait_for("be1gun");
    // Ctrl-C goes to the guest.
    terminal.send("\u{3}");
    terminal.wait_for("^C");
    terminal.send("echo $((6 * 8))\r");
    terminal.wait_for("48");
    // Ctrl-A X ends the program.
    terminal.send("\u{1}x");
    assert_eq!(wait_for(&mut child).code(), Some(130), "{}", terminal.seen);
    assert_eq!(test.temporary_files(), [] as [&Path; 0]);
}

/// The user's side of a terminal.
struct Terminal {
    line: File,
    seen: String,
}

impl Terminal {
    fn send(&mut self, keys: &str) {
        self.seen.clear();
        self.line.write_all(keys.as_bytes()).unwrap();
    }

    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 1024];
        while !self.seen.contains(text) {
            let count = self.line.read(&mut buffer).unwrap_or_else(|error| panic!("{error}: {}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}

/// Errors are found before the pull, and leave no files.
#[test]
fn boot_errors_come_before_the_pull() {
    let Some(test) = BootTest::new("amd64") else { return };
    let program = &test.program;
    let no_kernel = program.file("kernel", "no kernel");
    let message = program.fails(1, ["boot", IMAGE, "--kernel", no_kernel.to_str().unwrap()]);
    let expected = format!("vmroot: {}: not a Linux kernel for x86-64 or arm64\n", no_kernel.display());
    assert!(message.starts_with(&expected), "{message}");
    let message = program.fails(3, ["boot", IMAGE, "--kernel=/no/kernel"]);
    assert!(message.contains("/no/kernel"), "{message}");
    let long = format!("--append={}", "x".repeat(2048));
    let empty = program.path("empty");
    fs::create_dir(&empty).unwrap();
    for (arguments, expected) in [
        (&["--arch=arm64"][..], "a kernel for x86_64, but the image is for arm64"),
        (&[&format!("--modules={}", empty.display())], ": no modules of "),
        (&["--vmm=cloud-hypervisor", "--via=erofs"], "cloud-hypervisor runs guests only with KVM"),
        (&["--vmm=firecracker", "--via=erofs"], "firecracker runs guests only with KVM"),
        (&["--vmm=firecracker", "--via=virtiofs"], "firecracker has no virtio-fs"),
    ] {
        let message = test.run(arguments).fails(1);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    for (argument, expected) in [
        (long.as_str(), "command line would have"),
        ("--memory=1M", "a guest needs 16777216 bytes of memory at least, not 1048576"),
        ("--memory=1024T", "bytes of memory, and this host has "),
        ("--cpus=256", "qemu runs guests of 1 to 255 processors, not of 256"),
    ] {
        let message = test.run(&[argument]).fails(6);
        assert!(message.contains(expected), "{argument}: {message}");
    }
    for (argument, expected) in [
        ("--modules=/no/modules", "/no/modules: "),
        ("--init=/no/init", "vmroot: /no/init: "),
        ("--add=/no/file:/x", "/no/file to /x: "),
        ("--layer=/no/layer", "/no/layer"),
    ] {
        let message = test.run(&[argument]).fails(3);
        assert!(message.contains(expected), "{argument}: {message}");
    }
    // A VMM that is not installed.
    let mut command = program.command(test.arguments(&[]));
    let output = command.env("PATH", "/no/programs").output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("qemu-system-x86_64 is not installed"), "{message}");
    assert!(!program.cache().join("blobs").exists());
    assert!(!program.cache().exists() || test.temporary_files().is_empty());
}

#[test]
fn command_reads_end_of_file_without_input() {
    let Some(test) = BootTest::new("amd64") else { return };
    let answer = test.run(&["--via=erofs", "--overlay", "--", "-c", "cat; echo end"]);
    assert_eq!(answer.ok(), "end\n");
}
