//! A signal at every moment of a command's work.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::program::{Program, wait_for};

/// A program handles signals by this time after its start, even on a busy machine.
const START_TIME: Duration = Duration::from_millis(400);

/// The result of the runs of a command.
pub(crate) struct Moments {
    /// The number of runs that a signal has ended.
    pub(crate) interrupted: u32,
    /// The time of the last run, which was done before its signal.
    pub(crate) took: Duration,
}

/// Runs a command repeatedly in an empty directory, with the signal later each time, until it is done before the signal.
/// After each signal, `check` gets the directory, and a text for messages. The cache must have no temporary files then.
pub(crate) fn interrupt_at_every_moment(
    program: &Program,
    verb: &[&str],
    signal: Signal,
    check: impl Fn(&Path, &str),
) -> Moments {
    let work = program.path("work");
    let (mut interrupted, mut delay) = (0, Duration::from_millis(4));
    loop {
        let _ = fs::remove_dir_all(&work);
        fs::create_dir(&work).unwrap();
        let mut command = program.command(verb);
        command.current_dir(&work).process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        thread::sleep(delay);
        // To the whole process group, as a terminal sends Ctrl-C.
        let _ = kill_process_group(Pid::from_child(&child), signal);
        let status = wait_for(&mut child);
        let about = format!("{verb:?} after {delay:?}");
        match status.code() {
            Some(130) => interrupted += 1,
            // Before the program handles signals.
            None if delay < START_TIME => {}
            Some(0) => return Moments { interrupted, took: started.elapsed() },
            _ => panic!("{about}: {status}: {:?}", std::io::read_to_string(child.stderr.unwrap())),
        }
        check(&work, &about);
        let temporary = files(program.cache()).into_iter().filter(|path| path.contains(".tmp"));
        assert_eq!(temporary.collect::<Vec<_>>(), [] as [String; 0], "{about}");
        delay = delay.mul_f64(2.2);
    }
}

/// Returns the paths of all files below a directory, relative to it.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => pending.push(path),
                false => found.push(path.strip_prefix(directory).unwrap().display().to_string()),
            }
        }
    }
    found
}
