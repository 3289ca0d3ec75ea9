//! SIGINT, SIGTERM and SIGHUP during work: exit code 130, and no incomplete files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode};
use rustix::process::{Pid, Signal, kill_process};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};
use vmroot_testkit::sample::noise;
use vmroot_testkit::skip;

use crate::moments::interrupt_at_every_moment;
use crate::program::{Program, for_amd64, wait_for, wait_until};
use crate::samples::serve;

/// The size of the image's files in bytes, large enough that every export takes a while.
const BYTES: usize = 64 << 20;
/// The signals that end every command in the same way.
const SIGNALS: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

fn large_layer(seed: u64) -> Layer {
    Layer::new((0..64).map(|number| Entry::file(format!("d/{number}"), noise(seed + number, BYTES / 64))))
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn temporary_files(directory: &Path) -> Vec<String> {
    names(directory).into_iter().filter(|name| name.starts_with(".tmp")).collect()
}

/// Interrupts a command at every moment, after which no file may be there. Returns how often the signal came before the
/// end.
fn interrupt(program: &Program, verb: &[&str], signal: Signal) -> u32 {
    let is_empty = |work: &Path, about: &str| assert_eq!(names(work), [] as [String; 0], "{about}");
    interrupt_at_every_moment(program, verb, signal, is_empty).interrupted
}

#[test]
fn exports_and_checks_can_be_interrupted_at_any_moment() {
    let registry = Registry::start();
    let image = serve(&registry, &ImageBuilder::new().layer(&large_layer(0)).build(), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let tar = program.file("layer.tar", large_layer(0).to_tar(&Encoding::default()));
    let tar = tar.to_str().unwrap();
    let no_sqfstar = skip::needs_program("sqfstar");
    // Short work may be done before the first signal, so the times are counted for all of it.
    let mut total = 0;
    let formats = ["prebaked", "dir", "tar", "tar.gz", "tar.zst", "cpio", "erofs", "erofs-meta", "ext4", "squashfs"];
    for format in formats.into_iter().filter(|format| *format != "squashfs" || !no_sqfstar) {
        let format = format!("--format={format}");
        for signal in SIGNALS {
            let times = interrupt(&program, &["export", &image, "out", &format, "--arch=amd64"], signal);
            total += times;
        }
    }
    for signal in SIGNALS {
        total += interrupt(&program, &["cp", &image, "/", "out", "--arch=amd64"], signal);
        total += interrupt(&program, &["verify"], signal);
        total += interrupt(&program, &["layer", "index", tar], signal);
        total += interrupt(&program, &["layer", "index", tar, "--output=new/er"], signal);
    }
    assert!(total > 20, "{total} signals came before the end");
    assert!(program.ok(["verify"]).ends_with(" 0 damaged\n"));
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Blocking system calls: a pipe without a writer, a pipe that is not read, a pipe that is not open, a registry that
/// sends nothing. Without a signal, these would block forever.
#[test]
fn blocked_work_can_be_interrupted() {
    let registry = Registry::start();
    let image = serve(&registry, &ImageBuilder::new().layer(&large_layer(0)).build(), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let slow = Registry::start();
    // Other bytes, none of which are in the cache.
    let never = serve(&slow, &ImageBuilder::new().layer(&large_layer(1000)).build(), "v1");
    slow.misbehave(Rule::on("/blobs/").fault(Fault::Slow(1000, Duration::from_millis(50))));
    let fifo = program.path("fifo");
    rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let fifo = fifo.to_str().unwrap();
    let work = program.path("work");
    fs::create_dir(&work).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    for signal in SIGNALS {
        for verb in [
            &["layer", "index", "-"][..],
            &["layer", "index", fifo],
            &["layer", "index", fifo, "--output=new/er"],
            &["load", "-"],
            &["load", fifo],
            &["pull", &never],
            &["ls", &never],
            &["export", &never, "out", "--format=dir"],
            &["export", &never, "out", "--format=prebaked"],
            &["export", &image, "-", "--format=tar"],
            &["export", &image, "-", "--format=tar.zst"],
            &["export", &image, fifo, "--format=cpio"],
            &["export", &image, fifo, "--format=tar", "--add=/etc/passwd:/etc/"],
            &["cat", &image, "d/1", "d/2"],
            &["cp", &image, "d", "-"],
            &["cp", &never, "d", "out"],
        ] {
            let mut command = program.command(verb.iter().chain(for_amd64(verb[0])));
            command.current_dir(&work).stdin(reader.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            thread::sleep(Duration::from_millis(300));
            assert!(child.try_wait().unwrap().is_none(), "{verb:?} still runs");
            send(&child, signal);
            assert_eq!(wait_for(&mut child).code(), Some(130), "{verb:?} {signal:?}");
            assert_eq!(names(&work), [] as [String; 0], "{verb:?} {signal:?}");
            assert_eq!(temporary_files(program.cache()), [] as [String; 0], "{verb:?} {signal:?}");
        }
    }
    drop(writer);
}

/// The input stops in the middle. The files that were made of it are removed.
#[test]
fn interrupted_layer_index_leaves_no_files() {
    let program = Program::new();
    let work = program.path("work");
    fs::create_dir(&work).unwrap();
    let tar = large_layer(0).to_tar(&Encoding::default());
    let mut command = program.command(["layer", "index", "-"]);
    let mut child =
        command.current_dir(&work).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&tar[..10 << 20]).unwrap();
    send(&child, Signal::INT);
    assert_eq!(wait_for(&mut child).code(), Some(130));
    assert_eq!(names(&work), [] as [String; 0]);
}

/// The lock of the socket's directory, which any process that may read the directory can hold.
#[test]
fn wait_for_a_lock_ends_by_timeout_and_by_signal() {
    let registry = Registry::start();
    let image = serve(&registry, &crate::samples::image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let directory = program.path("sockets");
    fs::create_dir(&directory).unwrap();
    let lock = File::open(&directory).unwrap();
    lock.lock().unwrap();
    let socket = format!("--socket={}/socket", directory.display());
    let message = program.fails(6, ["virtiofs", &image, "--arch=amd64", &socket, "--lock-timeout=0.2"]);
    assert!(message.contains(directory.to_str().unwrap()) && message.contains("0.2 s"), "{message}");
    for signal in SIGNALS {
        let mut child = program.start(["virtiofs", &image, "--arch=amd64", &socket, "--lock-timeout=1000"]);
        thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().unwrap().is_none(), "the program waits for the lock");
        send(&child, signal);
        assert_eq!(wait_for(&mut child).code(), Some(130), "{signal:?}");
    }
    drop(lock);
}

/// A mount and a device in the foreground end by a signal, so the exit code is 0.
#[test]
fn servers_end_by_signal_with_code_0() {
    let registry = Registry::start();
    let image = serve(&registry, &crate::samples::image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let (socket, place) = (program.path("socket"), program.path("place"));
    fs::create_dir(&place).unwrap();
    for signal in SIGNALS {
        let mut child = program.start(["virtiofs", &image, "--arch=amd64", &format!("--socket={}", socket.display())]);
        wait_until("the socket", || socket.exists());
        send(&child, signal);
        assert_eq!(wait_for(&mut child).code(), Some(0), "virtiofs, {signal:?}");
        assert!(!socket.exists());
    }
    if skip::needs_root() {
        return;
    }
    if !Path::new("/dev/fuse").exists() {
        skip::because("needs /dev/fuse");
        return;
    }
    for signal in SIGNALS {
        for driver in ["--driver=fuse", "--driver=auto"] {
            let mut child = program.start(["mount", &image, place.to_str().unwrap(), "--arch=amd64", driver]);
            wait_until("the mount", || place.join("etc/motd").exists());
            send(&child, signal);
            assert_eq!(wait_for(&mut child).code(), Some(0), "mount {driver}, {signal:?}");
            assert_eq!(names(&place), [] as [String; 0], "the directory is unmounted");
        }
    }
}

/// A program that inherits a signal as ignored, as from nohup(1) or a shell's `&`. The other signals still end it.
#[test]
fn inherited_ignored_signal_stays_ignored() {
    let program = Program::new();
    let (reader, _writer) = std::io::pipe().unwrap();
    for (trap, ignored, other) in [
        ("trap '' HUP", &[Signal::HUP][..], Signal::INT),
        ("trap '' INT", &[Signal::INT], Signal::TERM),
        ("trap '' HUP INT", &[Signal::HUP, Signal::INT], Signal::TERM),
        ("trap '' TERM", &[Signal::TERM], Signal::HUP),
    ] {
        let mut command = program.command_after(&format!("{trap}; exec \"$@\""), ["layer", "index", "-"]);
        command.current_dir(program.path("")).stdin(reader.try_clone().unwrap());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(300));
        for _ in 0..2 {
            ignored.iter().for_each(|signal| send(&child, *signal));
            thread::sleep(Duration::from_millis(100));
            assert!(child.try_wait().unwrap().is_none(), "{trap}: it still runs");
        }
        send(&child, other);
        assert_eq!(wait_for(&mut child).code(), Some(130), "{trap}, then {other:?}");
    }
}

/// A credential helper that blocks forever, for example for a hardware key. It ends with the pull, and so do its own
/// children.
#[test]
fn credential_helper_ends_with_the_pull() {
    let registry = Registry::start();
    let image = serve(&registry, &crate::samples::image("amd64"), "v1");
    registry.require(Auth::basic("user", "secret"));
    let program = Program::new();
    let pid = program.path("pid");
    let script = format!("#!/bin/sh\nsh -c 'echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000'\n", pid.display());
    let text = program.file("script", script);
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
    // Written by another process: other threads of this one may start programs that inherit the open file.
    let copied = Command::new("cp").arg(&text).arg(program.path("docker-credential-slow")).status();
    assert!(copied.unwrap().success());
    let config = format!(r#"{{"credHelpers":{{"{}":"slow"}}}}"#, registry.host());
    let authfile = format!("--authfile={}", program.file("auth.json", config).display());
    for signal in SIGNALS {
        let mut command = program.command(["pull", &image, "--arch=amd64", &authfile]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", program.path("").display()));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the helper", || pid.exists());
        send(&child, signal);
        assert_eq!(wait_for(&mut child).code(), Some(130), "{signal:?}");
        let process = Path::new("/proc").join(fs::read_to_string(&pid).unwrap().trim());
        fs::remove_file(&pid).unwrap();
        wait_until("the end of the helper", || {
            fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
        });
    }
}
