//! Programs that keep credentials: `docker-credential-NAME get` (docker/docker-credential-helpers).

use std::fs;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::Credential;
use super::auth_file::password_or_token;
use crate::{Cancel, Error, Result};

/// The most bytes of a helper's answer that are read.
const ANSWER_LIMIT: u64 = 1 << 20;

/// How often a running helper is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// The program of the helper `name`; `None` if it is not in `directories`.
///
/// # Errors
/// [`Error::Helper`] for a name that is none.
pub(super) fn find(name: &str, directories: &[PathBuf]) -> Result<Option<PathBuf>> {
    let program = format!("docker-credential-{name}");
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !plain || name.is_empty() {
        return Err(Error::Helper { helper: program, reason: "this is no name of a helper".to_owned() });
    }
    if directories.is_empty() {
        return Ok(Some(program.into()));
    }
    Ok(directories.iter().map(|directory| directory.join(&program)).find(|path| path.is_file()))
}

/// Asks a helper for the credential of `server`; `None` if it has none, or is not there.
///
/// # Errors
/// [`Error::Helper`] if it cannot be run, fails, takes longer than `patience`, or says what makes no sense;
/// [`Error::Cancelled`]. No process of a helper runs on then.
pub(super) fn get(program: &PathBuf, server: &str, patience: Duration, cancel: &Cancel) -> Result<Option<Credential>> {
    cancel.check()?;
    let failed = |reason: String| Error::Helper { helper: program.display().to_string(), reason };
    let answer = match run(program, server, patience, cancel) {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            missing(&program.display().to_string());
            return Ok(None);
        }
        Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
        Err(error) => return Err(failed(error.to_string())),
    };
    if !answer.status.success() {
        // Helpers say on standard output what is wrong.
        let said = [answer.stdout.as_slice(), &answer.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if said.iter().any(|text| text.contains("credentials not found")) {
            return Ok(None);
        }
        let first = said.iter().find_map(|text| text.lines().find(|line| !line.trim().is_empty()));
        let said = first.unwrap_or("it says nothing").chars().take(200).collect::<String>();
        return Err(failed(format!("{}: {said}", answer.status)));
    }
    let secret: Secret = serde_json::from_slice(&answer.stdout).map_err(|_| {
        // Not serde's message, which may have a part of the secret in it.
        failed("its answer is not an object with Username and Secret".to_owned())
    })?;
    if secret.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(password_or_token(&secret.username, &secret.secret)))
}

/// Says that a helper is not there. Files with credentials travel, into containers above all, and their helpers stay
/// behind; public images must not fail for that.
pub(super) fn missing(program: &str) {
    tracing::warn!(program, "going on without this credential helper, which is not there");
}

/// The answer of a helper.
#[derive(Deserialize)]
struct Secret {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

struct Answer {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn run(program: &PathBuf, server: &str, patience: Duration, cancel: &Cancel) -> io::Result<Answer> {
    let deadline = Instant::now() + patience;
    let mut command = Command::new(program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // For an end of this process that leaves no time to end the helper.
    vmroot_sys::end_with_parent(&mut command);
    let mut child = command.spawn()?;
    let stdout = read_aside(child.stdout.take());
    let stderr = read_aside(child.stderr.take());
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input ends in its own way. The few bytes always fit into the pipe.
        let _ = stdin.write_all(server.as_bytes());
    }
    let status = wait(&mut child, deadline, cancel)?;
    // A grandchild may hold the pipes open; what has not come by now does not count.
    let left = deadline.saturating_duration_since(Instant::now());
    let stdout = stdout.recv_timeout(left.max(GLANCE)).unwrap_or_default();
    let stderr = stderr.recv_timeout(GLANCE).unwrap_or_default();
    Ok(Answer { status, stdout, stderr })
}

/// Reads a pipe on a thread of its own, so that a helper that says much is not held up.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if pipe.take(ANSWER_LIMIT).read_to_end(&mut bytes).is_ok() {
                // Nobody waits any more after the timeout.
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
            end(child)?;
            return Err(io::Error::other("cancelled"));
        }
        if Instant::now() >= deadline {
            end(child)?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long and was killed"));
        }
        thread::sleep(GLANCE);
    }
}

/// Kills a helper and the processes that it started: many helpers are shell scripts around the program that does the work.
///
/// They have no process group of their own, by which one call would reach all: a helper that asks for a passphrase at the
/// terminal would then be stopped, as a background process.
fn end(child: &mut Child) -> io::Result<()> {
    let below = Pid::from_raw(child.id().cast_signed()).map(descendants).unwrap_or_default();
    child.kill()?;
    for process in below {
        // It may have ended by itself.
        let _ = kill_process(process, Signal::KILL);
    }
    child.wait().map(drop)
}

/// The processes below one, as `/proc` has them (proc_pid_task_tid_children(5)).
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
