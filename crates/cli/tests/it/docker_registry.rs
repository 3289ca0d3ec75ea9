//! Debian's `docker-registry`, and programs that work with it.

use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

/// The time in which the registry must answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running registry that allows deletion, and accepts Docker's schema 1. It is killed on drop.
pub(crate) struct DockerRegistry {
    process: Child,
    pub(crate) host: String,
    directory: TempDir,
    /// Keeps the file of users.
    users: Option<NamedTempFile>,
}

impl DockerRegistry {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a registry that only the user `user` with the password `secret` may use.
    pub(crate) fn start_with_password() -> Self {
        // htpasswd -nbB user secret
        const USERS: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
        let users = tempfile::NamedTempFile::new().unwrap();
        fs::write(users.path(), USERS).unwrap();
        // The registry has read the file when it answers.
        let config = format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", users.path().display());
        let mut registry = Self::start_with(&config);
        registry.users = Some(users);
        registry
    }

    fn start_with(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The port stays free, because the system does not reuse ports that soon.
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: \
             true}}\nhttp: {{addr: {host}}}\ncompatibility: {{schema1: {{enabled: \
             true}}}}\n{more}",
            directory.path().join("storage").display()
        );
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.spawn().unwrap();
        let start = Instant::now();
        while TcpStream::connect(&host).is_err() {
            assert!(process.try_wait().unwrap().is_none() && start.elapsed() < TIMEOUT, "docker-registry ended");
            thread::sleep(Duration::from_millis(10));
        }
        Self { process, host, directory, users: None }
    }

    /// Runs skopeo with a home of its own.
    pub(crate) fn skopeo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        let mut command = Command::new("skopeo");
        // The machine may have no policy file.
        command.arg("--insecure-policy").args(arguments).env("HOME", self.directory.path()).output().unwrap()
    }

    /// Copies an image with skopeo, with all images of a list.
    pub(crate) fn copy(&self, source: &str, destination: &str, options: &[&str]) {
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        let arguments = ["copy", "--quiet"].iter().chain(&tls).chain(options).copied().chain([source, destination]);
        let output = self.skopeo(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
