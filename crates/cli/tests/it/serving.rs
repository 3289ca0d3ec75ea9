//! `virtiofs`: the socket, from the start of the program to its end.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use vmroot_testkit::registry::Registry;

use crate::program::{Program, wait_for, wait_until};
use crate::samples::{image, serve};

struct ServeTest {
    program: Program,
    image: String,
    socket: PathBuf,
}

impl ServeTest {
    fn new() -> Self {
        let registry = Registry::start();
        let program = Program::new();
        let image = serve(&registry, &image("amd64"), "v1");
        program.ok(["pull", &image, "--arch=amd64"]);
        let socket = program.path("socket");
        Self { program, image, socket }
    }

    fn arguments(&self) -> [&str; 4] {
        ["virtiofs", &self.image, "--socket", self.socket.to_str().unwrap()]
    }

    fn start(&self) -> Child {
        let child = self.program.start(self.arguments());
        wait_until("the socket", || fs::metadata(&self.socket).is_ok_and(|found| found.file_type().is_socket()));
        child
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn signals_end_the_program_and_remove_the_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let test = ServeTest::new();
        let mut child = test.start();
        send(&child, signal);
        assert!(wait_for(&mut child).success(), "{signal:?}");
        assert!(!test.socket.exists(), "{signal:?}");
    }
}

#[test]
fn signals_end_the_program_while_a_vmm_is_connected() {
    let test = ServeTest::new();
    let mut child = test.start();
    // The socket refuses connections for a moment between its creation and the first listening.
    let mut vmm = None;
    wait_until("a connection", || {
        vmm = UnixStream::connect(&test.socket).ok();
        vmm.is_some()
    });
    wait_until("the end of the socket", || !test.socket.exists());
    send(&child, Signal::TERM);
    assert!(wait_for(&mut child).success());
    drop(vmm);
}

#[test]
fn program_ends_with_its_vmm_without_output() {
    let test = ServeTest::new();
    let mut child = test.start();
    // The files of a served image are not removed.
    let message = test.program.fails(1, ["rm", &test.image]);
    assert!(message.contains(&format!("process {} (vmroot virtiofs", child.id())), "{message}");
    test.program.ok(["rm", "--force", &test.image]);
    assert_eq!(test.program.json(["gc", "--json"])["files"], serde_json::json!([]));
    drop(UnixStream::connect(&test.socket).unwrap());
    assert!(wait_for(&mut child).success());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b""[..]));
    assert!(!test.socket.exists());
}

#[test]
fn socket_of_a_killed_program_is_replaced() {
    let test = ServeTest::new();
    let mut child = test.start();
    child.kill().unwrap();
    wait_for(&mut child);
    assert!(test.socket.exists(), "a killed program leaves its socket");
    let mut child = test.program.start(test.arguments());
    wait_until("a socket that answers", || UnixStream::connect(&test.socket).is_ok());
    assert!(wait_for(&mut child).success());
}

#[test]
fn socket_of_a_running_program_is_kept() {
    let test = ServeTest::new();
    let mut child = test.start();
    let message = test.program.fails(1, test.arguments());
    assert!(message.contains("socket: another process listens there"), "{message}");
    drop(UnixStream::connect(&test.socket).expect("the first still listens"));
    assert!(wait_for(&mut child).success());
}

#[test]
fn other_files_are_not_replaced_by_a_socket() {
    let test = ServeTest::new();
    fs::write(&test.socket, "precious").unwrap();
    let message = test.program.fails(1, test.arguments());
    assert!(message.contains("exists and is not a socket"), "{message}");
    assert_eq!(fs::read(&test.socket).unwrap(), b"precious");
    let long = test.program.path(&"s".repeat(108));
    let message = test.program.fails(6, ["virtiofs", &test.image, "--socket", long.to_str().unwrap()]);
    assert!(message.contains("may have 107 bytes"), "{message}");
    for queues in ["0", "64", "x"] {
        test.program.fails(2, test.arguments().iter().chain(&["--queues", queues]));
    }
}
