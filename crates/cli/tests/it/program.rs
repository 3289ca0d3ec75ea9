//! Running the program in a cache of its own.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program with a home and a cache of its own, both gone with this value.
pub(crate) struct Program {
    home: TempDir,
    cache: PathBuf,
}

impl Program {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("cache");
        Self { home, cache }
    }

    /// The same home, another cache directory.
    pub(crate) fn with_cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = cache.into();
        self
    }

    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// A path in a directory that goes with this value.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file beside the cache.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A command that sees nothing of the settings of whoever runs the tests.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.prepared(&[], arguments)
    }

    /// The same, started by a shell script as its `"$@"`.
    pub(crate) fn command_after<S: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        self.prepared(&["sh", "-c", script, "sh"], arguments)
    }

    fn prepared<S: AsRef<OsStr>>(&self, before: &[&str], arguments: impl IntoIterator<Item = S>) -> Command {
        // Tests that run under nohup(1), or behind a shell's `&`, ignore signals, and a child would go on ignoring
        // them.
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=HUP,INT,TERM").args(before).arg(env!("CARGO_BIN_EXE_vmroot"));
        command.env_clear().env("HOME", self.home.path()).env("VMROOT_CACHE", &self.cache);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Answer {
        self.command(arguments).output().unwrap().into()
    }

    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Answer {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            // A program that does not want all of it closes its end.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap().into()
        })
    }

    /// Runs what must succeed, and gives its standard output.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).ok()
    }

    /// Runs what must succeed, and gives its standard output as JSON.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> serde_json::Value {
        let text = self.ok(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Runs what must fail with this exit code, and gives its standard error.
    pub(crate) fn fails<S: AsRef<OsStr>>(&self, code: i32, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).fails(code)
    }
}

/// What a run came to.
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status, stdout: output.stdout, stderr }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(f, "{}\nstdout: {stdout}\nstderr: {}", self.status, self.stderr)
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        String::from_utf8(self.stdout).unwrap_or_else(|error| panic!("not text: {} bytes", error.as_bytes().len()))
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self}");
        assert!(self.stdout.is_empty(), "{self}");
        assert!(!self.stderr.trim().is_empty(), "{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        self.stderr
    }
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a child to end.
#[track_caller]
pub(crate) fn wait_for(child: &mut Child) -> ExitStatus {
    wait_until("the end of a process", || child.try_wait().unwrap().is_some());
    child.wait().unwrap()
}
