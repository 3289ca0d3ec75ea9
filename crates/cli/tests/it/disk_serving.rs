//! `disk serve`: the doors of a disk, from the start of the program to its end.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{Program, wait_for, wait_until};
use crate::samples::{image, serve};

struct DiskTest {
    program: Program,
    image: String,
}

impl DiskTest {
    fn new() -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        Self { program, image }
    }

    /// Starts a server, and waits for its socket or file.
    fn start(&self, options: &[&str], ready: &Path) -> Child {
        let child = self.program.start(["disk", "serve", &self.image].into_iter().chain(options.iter().copied()));
        wait_until("the disk", || ready.exists());
        child
    }

    /// Writes the disk that the doors must show.
    fn joined(&self) -> PathBuf {
        let [out, joined] = ["meta", "joined"].map(|name| self.program.path(name));
        self.program.ok(["export", &self.image, out.to_str().unwrap(), "--format=erofs-meta"]);
        let mut bytes = fs::read(self.program.path("meta.head")).unwrap();
        for device in fs::read_to_string(self.program.path("meta.devices")).unwrap().lines() {
            bytes.extend(fs::read(device).unwrap());
        }
        fs::write(&joined, bytes).unwrap();
        joined
    }
}

/// Ends a server by a signal. It prints nothing.
fn end(mut child: Child, signal: Signal) {
    kill_process(Pid::from_child(&child), signal).unwrap();
    assert!(wait_for(&mut child).success());
    let output = child.wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(printed, ["", ""]);
}

fn compare(one: &str, other: &Path) {
    let mut command = Command::new("qemu-img");
    command.args(["compare", "-f", "raw", "-F", "raw", one]).arg(other);
    assert!(command.status().unwrap().success(), "{one}");
}

#[test]
fn sockets_are_served_until_a_signal() {
    let test = DiskTest::new();
    for (option, signal) in [("--nbd", Signal::TERM), ("--vhost-user", Signal::INT)] {
        let socket = test.program.path("socket");
        let child = test.start(&[option, socket.to_str().unwrap()], &socket);
        // The files of a served image are not removed.
        let message = test.program.fails(1, ["rm", &test.image]);
        assert!(message.contains(&format!("process {} (vmroot disk serve", child.id())), "{message}");
        end(child, signal);
        assert!(!socket.exists());
    }
}

#[test]
fn nbd_clients_read_the_exported_disk() {
    if skip::needs_program("qemu-img") {
        return;
    }
    let test = DiskTest::new();
    let socket = test.program.path("socket");
    let child = test.start(&["--nbd", socket.to_str().unwrap()], &socket);
    compare(&format!("nbd+unix:///?socket={}", socket.display()), &test.joined());
    end(child, Signal::TERM);
}

#[test]
fn a_file_is_served_until_a_signal_or_until_it_is_unmounted() {
    if !Path::new("/dev/fuse").exists() {
        skip::because("needs /dev/fuse");
        return;
    }
    let test = DiskTest::new();
    let place = test.program.path("place");
    fs::create_dir(&place).unwrap();
    let file = place.join("root.img");
    let child = test.start(&["--fuse", place.to_str().unwrap()], &file);
    if !skip::needs_program("qemu-img") {
        compare(file.to_str().unwrap(), &test.joined());
    }
    let message = test.program.fails(1, ["disk", "serve", &test.image, "--fuse", place.to_str().unwrap()]);
    assert!(message.contains("is mounted there"), "{message}");
    end(child, Signal::TERM);
    assert!(!file.exists());
    let mut child = test.start(&["--fuse", place.to_str().unwrap()], &file);
    test.program.ok(["umount", place.to_str().unwrap()]);
    assert!(wait_for(&mut child).success());
}

#[test]
fn a_recorded_trace_is_read_ahead() {
    if !Path::new("/dev/fuse").exists() {
        skip::because("needs /dev/fuse");
        return;
    }
    let test = DiskTest::new();
    let [place, trace] = ["place", "trace"].map(|name| test.program.path(name));
    fs::create_dir(&place).unwrap();
    let (file, door) = (place.join("root.img"), ["--fuse", place.to_str().unwrap()]);
    let child = test.start(&[&door[..], &["--record", trace.to_str().unwrap()]].concat(), &file);
    File::open(&file).unwrap().read_exact_at(&mut [0; 512], 1024).unwrap();
    end(child, Signal::TERM);
    let bytes = fs::read(&trace).unwrap();
    assert!(bytes.starts_with(b"VMRTRACE") && bytes.len() >= 100, "{bytes:?}");
    let child = test.start(&[&door[..], &["--prefetch", trace.to_str().unwrap()]].concat(), &file);
    end(child, Signal::TERM);
    fs::write(&trace, "text").unwrap();
    let arguments = ["disk", "serve", &test.image, door[0], door[1], "--prefetch", trace.to_str().unwrap()];
    let message = test.program.fails(1, arguments);
    assert!(message.contains("trace: it is too short"), "{message}");
}

#[test]
fn wrong_doors_are_refused() {
    let test = DiskTest::new();
    let file = test.program.path("file");
    fs::write(&file, "precious").unwrap();
    let path = file.to_str().unwrap();
    let image = test.image.as_str();
    for (code, arguments) in [
        (2, vec!["disk", "serve", image]),
        (2, vec!["disk", "serve", image, "--nbd=a", "--fuse=b"]),
        (2, vec!["disk", "serve", image, "--nbd=a", "--queues=2"]),
        (2, vec!["disk", "serve", image, "--vhost-user=a", "--queues=65"]),
        (1, vec!["disk", "serve", image, "--nbd", path]),
        (1, vec!["disk", "serve", image, "--vhost-user", path]),
        (1, vec!["disk", "serve", image, "--fuse", path]),
        (3, vec!["disk", "serve", image, "--nbd=/no/such/socket"]),
        (3, vec!["disk", "serve", image, "--fuse=/no/such/place"]),
        (3, vec!["disk", "serve", image, "--nbd", test.program.path("s").to_str().unwrap(), "--prefetch=/no/such"]),
    ] {
        test.program.fails(code, arguments);
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}
