//! Several processes that use one cache.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use vmroot_cache::{BlobSlot, LockName, Mode, Verdict, wait_forever};
use vmroot_model::Digest;
use vmroot_output::Cancel;

use crate::{bytes, open};

/// The environment variable with the directory for a child process.
const DIRECTORY: &str = "VMROOT_TEST_DIRECTORY";

/// A process that runs one test of this binary. It is killed when this is dropped.
pub(crate) struct Running(Child);

/// Runs one test in a new process of this binary. The test calls [`in_child`] for its directory.
pub(crate) fn spawn(test: &str, directory: &Path) -> Running {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--quiet", "--test-threads=1"]).env(DIRECTORY, directory);
    Running(command.stdout(Stdio::null()).spawn().unwrap())
}

impl Running {
    /// Waits until the process has created a file.
    pub(crate) fn wait_for(&mut self, file: &Path) {
        while !file.exists() {
            assert!(self.0.try_wait().unwrap().is_none(), "the process ended before it created {file:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn succeeds(mut self) -> bool {
        self.0.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process has ended already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the directory to work in if [`spawn`] started this process.
pub(crate) fn in_child() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(Into::into)
}

const BLOB: usize = 4_000_000;

#[test]
fn eight_processes_fetch_a_blob_once() {
    if let Some(directory) = in_child() {
        return fetch(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let start = |_| spawn("processes::eight_processes_fetch_a_blob_once", directory.path());
    let processes: Vec<Running> = (0..8).map(start).collect();
    assert!(processes.into_iter().all(Running::succeeds));
    let fetched = fs::read(directory.path().join("fetched")).unwrap();
    assert_eq!(fetched.len(), BLOB.div_ceil(100_000), "every piece was fetched once, by one process");
    assert!(fetched.iter().all(|&pid| pid == fetched[0]));
    let content = bytes(10, BLOB);
    assert_eq!(
        open(&directory.path().join("cache")).verify(&Digest::of(&content), &Cancel::new()).unwrap(),
        Verdict::Whole
    );
}

/// Runs in each process. Appends one byte of the process id to a file for every piece that it fetches.
fn fetch(directory: &Path) {
    let content = bytes(10, BLOB);
    let digest = Digest::of(&content);
    let cache = open(&directory.join("cache"));
    let mut notes = OpenOptions::new().append(true).create(true).open(directory.join("fetched")).unwrap();
    let _in_use = cache.lock(&LockName::Cache, Mode::Shared, &mut wait_forever).unwrap();
    match cache.open_writer(&digest, BLOB as u64, &mut wait_forever).unwrap() {
        BlobSlot::Present(blob) => assert_eq!(blob.length, BLOB as u64),
        BlobSlot::Absent(mut writer) => {
            for piece in content.chunks(100_000) {
                notes.write_all(&[std::process::id() as u8]).unwrap();
                writer.append(piece).unwrap();
                thread::yield_now();
            }
            writer.commit().unwrap();
        }
    }
}

#[test]
fn killed_process_releases_its_lock() {
    let held = |directory: &Path| directory.join("held");
    if let Some(directory) = in_child() {
        let _lock = open(&directory).lock(&LockName::Cache, Mode::Exclusive, &mut wait_forever).unwrap();
        fs::write(held(&directory), b"").unwrap();
        loop {
            thread::park();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut child = spawn("processes::killed_process_releases_its_lock", directory.path());
    child.wait_for(&held(directory.path()));
    let cache = open(directory.path());
    assert!(cache.try_lock(&LockName::Cache, Mode::Shared).unwrap().is_none());
    // The hook that shows a message to the user kills the other process here.
    let mut calls = 0;
    let mut on_wait = |_: &Path| {
        calls += 1;
        if calls == 1 {
            child.kill();
        }
        std::ops::ControlFlow::Continue(())
    };
    let _lock = cache.lock(&LockName::Cache, Mode::Exclusive, &mut on_wait).unwrap();
    assert!(calls >= 1);
}
