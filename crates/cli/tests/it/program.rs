//! Running the program with a cache of its own.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The time after which a wait fails the test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The program with a home and a cache of its own, which are removed on drop.
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

    /// Replaces the directory of the cache.
    pub(crate) fn with_cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = cache.into();
        self
    }

    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Returns a path in a directory that is removed with this value.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file beside the cache.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Returns a command without the environment of the test run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.prepare(&[], arguments)
    }

    /// Returns a command that a shell script starts as its `"$@"`.
    pub(crate) fn command_after<S: AsRef<OsStr>>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        self.prepare(&["sh", "-c", script, "sh"], arguments)
    }

    fn prepare<S: AsRef<OsStr>>(&self, before: &[&str], arguments: impl IntoIterator<Item = S>) -> Command {
        // A child inherits ignored signals, for example from nohup(1) or a shell's `&`.
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

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> CommandOutput {
        self.command(arguments).output().unwrap().into()
    }

    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> CommandOutput {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            // A program that does not read all of it closes the pipe.
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap().into()
        })
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).ok()
    }

    /// Runs a command that must succeed, and returns its standard output as JSON.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> serde_json::Value {
        let text = self.ok(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Returns the findings of `verify`. A first command that failed leaves no cache, which has none.
    pub(crate) fn findings(&self) -> serde_json::Value {
        if !self.cache().exists() {
            return serde_json::json!([]);
        }
        self.json(["verify", "--json"])["findings"].take()
    }

    /// Runs a command that must fail with this exit code, and returns its standard error.
    pub(crate) fn fails<S: AsRef<OsStr>>(&self, code: i32, arguments: impl IntoIterator<Item = S>) -> String {
        self.run(arguments).fails(code)
    }
}

/// Returns the option for the samples' platform, for a command that chooses among images of several platforms.
pub(crate) fn for_amd64(command: &str) -> &'static [&'static str] {
    match command {
        "gc" | "umount" | "layer" | "completions" | "--help" => &[],
        _ => &["--arch=amd64"],
    }
}

/// The exit status and output of a run.
pub(crate) struct CommandOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for CommandOutput {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status, stdout: output.stdout, stderr }
    }
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(f, "{}\nstdout: {stdout}\nstderr: {}", self.status, self.stderr)
    }
}

impl CommandOutput {
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

/// Waits until a condition is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < TIMEOUT, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a child to end.
#[track_caller]
pub(crate) fn wait_for(child: &mut Child) -> ExitStatus {
    wait_until("the end of a process", || child.try_wait().unwrap().is_some());
    child.wait().unwrap()
}
