//! A Docker engine for tests, in a temporary directory.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::skip;

/// How long the engine may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the engine and its containerd may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// The time between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// A running `dockerd`, without networks. It ends when the value is dropped, with its containerd.
#[derive(Debug)]
pub struct Dockerd {
    child: Child,
    directory: TempDir,
}

impl Dockerd {
    /// Returns whether a test must be skipped because no engine can be started.
    #[track_caller]
    pub fn is_missing() -> bool {
        skip::needs_root() || skip::needs_program("dockerd")
    }

    /// Starts an engine with more arguments, and waits until it answers.
    ///
    /// # Panics
    /// If it ends or does not answer. The message has its log.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = File::create(directory.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a second descriptor");
        let at = |name: &str| directory.path().join(name);
        // The machine's own configuration is not used.
        fs::write(at("config.json"), "{}").expect("a configuration");
        let child = Command::new("dockerd")
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--config-file")
            .arg(at("config.json"))
            .arg("-H")
            .arg(format!("unix://{}", at("socket").display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("dockerd starts");
        let mut engine = Self { child, directory };
        engine.wait_until_it_answers();
        engine
    }

    /// Returns the path of the engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Returns the address of the engine's socket, `unix:///PATH`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs the `docker` command and returns its output without white space at the ends.
    ///
    /// # Panics
    /// If the command fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").arg("-H").arg(self.host()).args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("docker runs");
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn wait_until_it_answers(&mut self) {
        let started = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none() && started.elapsed() < START_TIMEOUT, "dockerd did not start:\n{}", self.log());
            sleep(PAUSE);
        }
    }

    fn log(&self) -> String {
        let mut log = String::new();
        // Without its log, the failure is reported all the same.
        let _ = File::open(self.directory.path().join("log")).and_then(|mut file| file.read_to_string(&mut log));
        log
    }

    fn containerd(&self) -> Option<Pid> {
        let pid = fs::read_to_string(self.directory.path().join("exec/containerd/containerd.pid")).ok()?;
        pid.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// Waits for the end of the engine. Returns whether it ended in time.
    fn has_ended(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < END_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            sleep(PAUSE);
        }
        false
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let containerd = self.containerd();
        // The engine ends its containerd, which is its child. Errors mean that a process has already ended.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            if let Some(containerd) = containerd {
                let _ = kill_process(containerd, Signal::KILL);
            }
        }
        // The engine leaves its data root mounted on itself in some versions.
        for mounted in ["data", "exec/netns", "data/overlay2"] {
            let _ = rustix::mount::unmount(self.directory.path().join(mounted), rustix::mount::UnmountFlags::DETACH);
        }
    }
}
