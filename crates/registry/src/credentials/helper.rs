//! Credential helpers: the programs `docker-credential-NAME` (docker/docker-credential-helpers).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Credential;
use super::auth_file::password_or_token;
use crate::{Cancel, Error, Result};

/// The maximum length of a helper's output, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;

/// The interval at which a running helper is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A program that keeps credentials, `docker-credential-NAME`.
#[derive(Clone, Debug)]
pub struct CredentialHelper {
    program: PathBuf,
    timeout: Duration,
}

/// The answer of a helper.
pub(super) enum Answer {
    Credential(Credential),
    /// The helper has no credential for the server.
    None,
    /// The program does not exist.
    Missing,
}

impl CredentialHelper {
    /// Returns the helper `name`, or `None` if it is not in `directories`. If these are empty, `PATH` is searched when the
    /// helper is run. `timeout` is the maximum time of one run.
    ///
    /// # Errors
    /// [`Error::Helper`] if `name` has characters that no helper's name has.
    pub fn find(name: &str, directories: &[PathBuf], timeout: Duration) -> Result<Option<Self>> {
        let program = format!("docker-credential-{name}");
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !plain || name.is_empty() {
            return Err(Error::Helper { helper: program, reason: "invalid name of a helper".to_owned() });
        }
        if directories.is_empty() {
            return Ok(Some(Self { program: program.into(), timeout }));
        }
        let mut candidates = directories.iter().map(|directory| directory.join(&program));
        Ok(candidates.find(|path| path.is_file()).map(|program| Self { program, timeout }))
    }

    /// Returns the credential of `server`, or `None` if the helper has none or does not exist.
    ///
    /// # Errors
    /// - [`Error::Helper`]: the helper cannot be run, fails, exceeds its time, or prints malformed output.
    /// - [`Error::Cancelled`]: `cancel` was used.
    ///
    /// In both cases, no process of the helper is left running.
    pub fn get(&self, server: &str, cancel: &Cancel) -> Result<Option<Credential>> {
        match self.ask(server, cancel)? {
            Answer::Credential(credential) => Ok(Some(credential)),
            Answer::None => Ok(None),
            Answer::Missing => {
                warn_missing(&self.program.display().to_string());
                Ok(None)
            }
        }
    }

    /// As [`Self::get`], with the two reasons for no credential kept apart.
    pub(super) fn ask(&self, server: &str, cancel: &Cancel) -> Result<Answer> {
        let output = match self.run("get", server, cancel)? {
            Outcome::Output(output) => output,
            Outcome::NotFound => return Ok(Answer::None),
            Outcome::Missing => return Ok(Answer::Missing),
        };
        // serde's message is omitted, because it may quote the secret.
        let secret: HelperCredential = serde_json::from_slice(&output)
            .map_err(|_| self.failed("its output is not a JSON object with Username and Secret".to_owned()))?;
        if secret.secret.is_empty() {
            return Ok(Answer::None);
        }
        Ok(Answer::Credential(password_or_token(&secret.username, &secret.secret)))
    }

    /// Stores the user and password of `server`.
    ///
    /// # Errors
    /// [`Error::Helper`] if the helper does not exist or fails, or [`Error::Cancelled`].
    pub fn store(&self, server: &str, user: &str, password: &str, cancel: &Cancel) -> Result<()> {
        let input = serde_json::json!({"ServerURL": server, "Username": user, "Secret": password}).to_string();
        match self.run("store", &input, cancel)? {
            Outcome::Missing => Err(self.failed("the program does not exist".to_owned())),
            _ => Ok(()),
        }
    }

    /// Erases the credential of `server`. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Helper`] if the helper does not exist or fails, or [`Error::Cancelled`].
    pub fn erase(&self, server: &str, cancel: &Cancel) -> Result<bool> {
        match self.run("erase", server, cancel)? {
            Outcome::Output(_) => Ok(true),
            Outcome::NotFound => Ok(false),
            Outcome::Missing => Err(self.failed("the program does not exist".to_owned())),
        }
    }

    /// Returns the servers that the helper has credentials for. A helper that does not exist has none.
    ///
    /// # Errors
    /// [`Error::Helper`] if the helper fails, or [`Error::Cancelled`].
    pub fn list(&self, cancel: &Cancel) -> Result<Vec<String>> {
        let Outcome::Output(output) = self.run("list", "", cancel)? else { return Ok(Vec::new()) };
        let users: BTreeMap<String, IgnoredAny> = serde_json::from_slice(&output)
            .map_err(|_| self.failed("its output is not a JSON object of servers".to_owned()))?;
        Ok(users.into_keys().collect())
    }

    /// Runs an action of the helper.
    fn run(&self, action: &str, input: &str, cancel: &Cancel) -> Result<Outcome> {
        cancel.check()?;
        let output = match run(&self.program, action, input, self.timeout, cancel) {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Missing),
            Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
            Err(error) => return Err(self.failed(error.to_string())),
        };
        if output.status.success() {
            return Ok(Outcome::Output(output.stdout));
        }
        // Helpers print errors to standard output.
        let texts = [output.stdout.as_slice(), &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if texts.iter().any(|text| text.contains("credentials not found")) {
            return Ok(Outcome::NotFound);
        }
        let first = texts.iter().find_map(|text| text.lines().find(|line| !line.trim().is_empty()));
        let message = first.unwrap_or("no output").chars().take(200).collect::<String>();
        Err(self.failed(format!("{}: {message}", output.status)))
    }

    fn failed(&self, reason: String) -> Error {
        Error::Helper { helper: self.program.display().to_string(), reason }
    }
}

/// The result of running a helper.
enum Outcome {
    /// Its standard output.
    Output(Vec<u8>),
    /// It has no credential for the server.
    NotFound,
    /// The program does not exist.
    Missing,
}

/// Logs that a helper does not exist. This is not an error: credential files are often copied without their helpers,
/// for example into containers, and public images must still work.
pub(super) fn warn_missing(program: &str) {
    tracing::warn!(program, "continuing without this credential helper, which does not exist");
}

/// The JSON that a helper prints.
#[derive(Deserialize)]
struct HelperCredential {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

struct HelperOutput {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn run(program: &Path, action: &str, input: &str, timeout: Duration, cancel: &Cancel) -> io::Result<HelperOutput> {
    let deadline = Instant::now() + timeout;
    let mut command = Command::new(program);
    command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // This covers the case that this process is killed and cannot kill the helper itself.
    vmroot_sys::end_with_parent(&mut command);
    let mut child = command.spawn()?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input reports that itself. The few bytes fit into the pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = wait(&mut child, deadline, cancel)?;
    // A grandchild may keep the pipes open. Output after this deadline is ignored.
    let left = deadline.saturating_duration_since(Instant::now());
    let stdout = stdout.recv_timeout(left.max(POLL_INTERVAL)).unwrap_or_default();
    let stderr = stderr.recv_timeout(POLL_INTERVAL).unwrap_or_default();
    Ok(HelperOutput { status, stdout, stderr })
}

/// Reads a pipe on its own thread, so that a helper with much output does not block.
fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if pipe.take(ANSWER_LIMIT).read_to_end(&mut bytes).is_ok() {
                // After the timeout, the receiver is gone.
                let _ = sender.send(bytes);
            }
        });
    }
    receiver
}

fn wait(child: &mut Child, deadline: Instant, cancel: &Cancel) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if cancel.is_cancelled() {
            kill_with_descendants(child)?;
            return Err(io::Error::other("cancelled"));
        }
        if Instant::now() >= deadline {
            kill_with_descendants(child)?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long and was killed"));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Kills a helper and its descendants: many helpers are shell scripts around another program.
///
/// A process group of their own would make this a single call. But then the terminal would stop a helper that prompts
/// for a passphrase, as a background process.
fn kill_with_descendants(child: &mut Child) -> io::Result<()> {
    let below = Pid::from_raw(child.id().cast_signed()).map(descendants).unwrap_or_default();
    child.kill()?;
    for process in below {
        // The process may already have ended.
        let _ = kill_process(process, Signal::KILL);
    }
    child.wait().map(drop)
}

/// Returns the descendants of a process, from `/proc` (proc_pid_task_tid_children(5)).
fn descendants(process: Pid) -> Vec<Pid> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(process) = found.get(next).map(|process| process.as_raw_nonzero()) {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|number| Pid::from_raw(number.parse().ok()?)));
        }
    }
    found.split_off(1)
}
