//! Signals during the verbs of the store and of the image library: exit code 130, and no incomplete files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};
use vmroot_model::Digest;
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::{Fault, Registry, Rule};
use vmroot_testkit::sample::noise;

use crate::moments::interrupt_at_every_moment;
use crate::program::{Program, wait_for, wait_until};
use crate::samples::serve;
use crate::screen::Terminal;

fn large_layer(seed: u64) -> Layer {
    Layer::new((0..16).map(|number| Entry::file(format!("d/{number}"), noise(seed + number, 1 << 20))))
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Returns all files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Checks what a signal has left: no temporary files, and no file under the name of a digest with other bytes.
#[track_caller]
fn assert_clean(directory: &Path, about: &str) {
    for path in files(directory) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!name.starts_with(".tmp"), "{about}: {}", path.display());
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            assert_eq!(Digest::of(&fs::read(&path).unwrap()).hex(), name, "{about}: {}", path.display());
        }
    }
}

/// The time that is long enough for a signal to come before the end, on any machine.
const LONG: Duration = Duration::from_secs(2);

/// Interrupts a verb at every moment. `results` are the files that appear only when they are complete.
fn interrupt(program: &Program, verb: &[&str], signal: Signal, results: &[&str]) {
    let check = |work: &Path, about: &str| {
        assert_clean(work, about);
        assert_clean(&program.cache().join("blobs"), about);
        for result in results {
            assert!(!work.join(result).exists(), "{about}: {result}");
        }
    };
    let moments = interrupt_at_every_moment(program, verb, signal, check);
    // Short work may be done before the first signal.
    assert!(moments.interrupted > 0 || moments.took < LONG, "{verb:?}: no signal came before the end");
}

#[test]
fn verbs_of_the_store_can_be_interrupted_at_any_moment() {
    let registry = Registry::start();
    let image = serve(&registry, &ImageBuilder::new().layer(&large_layer(0)).layer(&large_layer(100)).build(), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let tar = program.file("layer.tar", large_layer(200).to_tar(&Encoding::default()));
    let archive = program.path("archive.tar");
    let (tar, archive) = (tar.to_str().unwrap(), archive.to_str().unwrap());
    program.ok(["save", &image, "-o", archive]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        interrupt(&program, &["save", &image, "-o", "out.tar"], signal, &["out.tar"]);
    }
    let int = Signal::INT;
    let legacy = ["save", &image, "-o", "out.tar", "--format=docker-archive-v24"];
    interrupt(&program, &legacy, int, &["out.tar"]);
    interrupt(&program, &["save", &image], int, &[]);
    interrupt(&program, &["verify", "--repair", "--offline"], int, &[]);
    let commit = ["commit", &image, tar, "--tag=child:1", "--arch=amd64"];
    interrupt(&program, &commit, int, &[]);
    // An image with other layers, so that they are unpacked.
    let other = Program::new();
    interrupt(&other, &["load", archive, "--arch=amd64"], int, &[]);
    assert!(other.ok(["verify"]).ends_with(" 0 damaged\n"));
    other.ok(["rm", &image, "--arch=amd64"]);
    interrupt(&other, &["gc"], int, &[]);
    assert!(program.ok(["verify"]).ends_with(" 0 damaged\n"));
}

#[test]
fn copies_can_be_interrupted_at_any_moment() {
    let registry = Registry::start();
    let image = serve(&registry, &ImageBuilder::new().layer(&large_layer(0)).layer(&large_layer(100)).build(), "v1");
    let program = Program::new();
    let source = format!("docker://{image}");
    let int = Signal::INT;
    for (destination, results) in [
        ("dir:out", &["out/manifest.json"][..]),
        // The layout is whole without the image.
        ("oci:out:v1", &[]),
        ("docker-archive:out.tar:a:1", &["out.tar"]),
        ("oci-archive:out.tar:v1", &["out.tar"]),
    ] {
        interrupt(&program, &["copy", &source, destination], int, results);
        let zstd = ["copy", &source, destination, "--dest-compress-format=zstd", "--dest-force-compress-format"];
        if destination.starts_with("oci:") {
            interrupt(&program, &zstd, int, results);
        }
    }
    let target = Registry::start();
    let pushed = format!("docker://{}/copied:v1", target.host());
    interrupt(&program, &["copy", &source, &pushed], int, &[]);
    interrupt(&program, &["copy", &source, "vmroot:copied:v1"], int, &[]);
    let (repository, _) = image.rsplit_once(':').unwrap();
    let host = registry.host();
    let place = format!("out/{}/manifest.json", repository.strip_prefix(&format!("{host}/")).unwrap());
    let sync = ["sync", "--src=docker", "--dest=dir", repository, "out"];
    interrupt(&program, &sync, int, &[&place]);
}

/// Work that waits for others: a silent registry, a pipe without a writer or a reader, the lock of another process.
#[test]
fn waiting_work_can_be_interrupted() {
    let registry = Registry::start();
    let image = serve(&registry, &ImageBuilder::new().layer(&large_layer(0)).build(), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let silent = Registry::start();
    silent.misbehave(Rule::on("").fault(Fault::Delay(Duration::from_secs(1000))));
    let host = silent.host();
    let (name, repository) = (format!("{host}/a:1"), format!("{host}/a"));
    let remote = format!("docker://{name}");
    let fifo = program.path("fifo");
    rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let fifo = fifo.to_str().unwrap();
    let work = program.path("work");
    fs::create_dir_all(work.join("place")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let cached = format!("vmroot:{image}");
    let (to_fifo, from_fifo) = (format!("docker-archive:{fifo}"), format!("docker-archive:{fifo}"));
    for verb in [
        &["pull", &name][..],
        &["inspect", &name],
        &["tags", &repository],
        &["repos", &host],
        &["digest", &name],
        &["referrers", &name],
        &["instances", &repository],
        &["delete", &remote],
        &["tag", "--remote", &name, "b"],
        &["login", &host, "--username=a", "--password=b"],
        &["login", &host, "--username=a", "--password-stdin"],
        &["copy", &remote, "dir:out"],
        &["copy", &cached, &remote],
        &["copy", &from_fifo, "dir:out"],
        &["sync", "--src=docker", "--dest=dir", &repository, "out"],
        &["load", "--input", fifo],
        &["save", &image],
        &["commit", &image, "-", "--tag=c:1"],
        &["commit", &image, fifo, "--tag=c:1"],
        &["mount", &name, "place"],
        &["boot", &name, "--kernel", fifo],
        &["diff", &image, &name],
        &["copy", &cached, &to_fifo],
    ] {
        let mut command = program.command(verb);
        // Of a pipe that is not read, and of one that is not written to.
        command.current_dir(&work).stdin(reader.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        thread::sleep(Duration::from_millis(500));
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{verb:?} has ended: {status}: {}", std::io::read_to_string(child.stderr.unwrap()).unwrap());
        }
        send(&child, Signal::INT);
        let sent = Instant::now();
        assert_eq!(wait_for(&mut child).code(), Some(130), "{verb:?}");
        // Far more than the program needs: a busy machine must not decide.
        assert!(sent.elapsed() < Duration::from_secs(20), "{verb:?}");
        assert_clean(&work, &format!("{verb:?}"));
        let message = std::io::read_to_string(child.stderr.unwrap()).unwrap();
        assert!(message.contains("cancelled"), "{verb:?}: {message}");
    }
    drop(writer);
}

#[test]
fn a_wait_for_another_process_can_be_interrupted() {
    let registry = Registry::start();
    let image = serve(&registry, &ImageBuilder::new().layer(&large_layer(0)).build(), "v1");
    registry.misbehave(Rule::on("/blobs/").fault(Fault::Slow(1000, Duration::from_millis(100))));
    let program = Program::new();
    let mut first = program.start(["pull", &image, "--arch=amd64"]);
    let partials =
        || files(&program.cache().join("blobs")).iter().any(|path| path.to_str().unwrap().ends_with("partial"));
    wait_until("the first bytes", partials);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut second = program.start(["pull", &image, "--arch=amd64"]);
        thread::sleep(Duration::from_millis(500));
        assert!(second.try_wait().unwrap().is_none(), "the second pull waits");
        send(&second, signal);
        assert_eq!(wait_for(&mut second).code(), Some(130), "{signal:?}");
    }
    send(&first, Signal::INT);
    assert_eq!(wait_for(&mut first).code(), Some(130));
}

/// A signal ends the question for a password, and the terminal shows its input again.
#[test]
fn a_question_can_be_interrupted() {
    let registry = Registry::start();
    let program = Program::new();
    for question in ["Username:", "Password:"] {
        let name: &[&str] = if question == "Username:" { &[] } else { &["--username=a"] };
        let terminal = Terminal::start(program.command([&["login", &registry.host()], name].concat()), 80, 24);
        terminal.wait(question, |lines| lines.iter().any(|line| line.starts_with(question)));
        let shows_input = || tcgetattr(terminal.near()).unwrap().local_modes.contains(LocalModes::ECHO);
        wait_until("the terminal's setting", || shows_input() == (question == "Username:"));
        send(&terminal.child, Signal::INT);
        let near: File = terminal.near().try_clone().unwrap();
        let (code, lines) = terminal.finish();
        assert_eq!(code, Some(130), "{lines:?}");
        assert!(tcgetattr(&near).unwrap().local_modes.contains(LocalModes::ECHO), "{question}");
        assert!(lines.iter().any(|line| line.contains("cancelled")), "{lines:?}");
    }
}

/// The questions take the answers in order, and the password is not shown.
#[test]
fn a_login_at_a_terminal_asks_for_user_and_password() {
    let registry = Registry::start();
    registry.require(vmroot_testkit::registry::Auth::basic("ann", "secret"));
    let program = Program::new();
    let terminal = Terminal::start(program.command(["login", &registry.host()]), 80, 24);
    terminal.wait("the first question", |lines| lines.iter().any(|line| line.starts_with("Username:")));
    terminal.send("ann\n");
    terminal.wait("the second question", |lines| lines.iter().any(|line| line.starts_with("Password:")));
    let shows_input = || tcgetattr(terminal.near()).unwrap().local_modes.contains(LocalModes::ECHO);
    wait_until("the terminal's setting", || !shows_input());
    terminal.send("secret\n");
    let (code, lines) = terminal.finish();
    assert_eq!((code, lines.last().map(String::as_str)), (Some(0), Some("Login Succeeded!")), "{lines:?}");
    assert!(!lines.concat().contains("secret"), "{lines:?}");
}
