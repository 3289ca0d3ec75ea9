//! Progress as lines: one as a task starts, and one as it ends.

use std::time::{Duration, Instant};

use super::Retry;
use super::action::{Outcome, Unit};
use super::board::{Board, Task, wait_forms};

/// The times without data at which a silent host is named: after the first one, every ten seconds.
const FIRST_WAIT_LINE: Duration = Duration::from_secs(5);
const WAIT_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest pause before a retry that has a line. Shorter ones are in the log of `-v`.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);

/// Returns the lines that are due: of tasks that start, and of silent hosts.
pub(super) fn due_lines(board: &mut Board, now: Instant) -> String {
    let mut lines = String::new();
    for task in board.tasks.iter_mut().filter(|task| task.visible_from <= now) {
        if !std::mem::replace(&mut task.is_announced, true) {
            lines += &start_line(task);
        }
    }
    // Of several requests to a host, the one that waits for the longest time has the line.
    board.waits.sort_by_key(|wait| wait.since);
    for position in 0..board.waits.len() {
        let wait = &board.waits[position];
        let silent = now.duration_since(wait.since);
        if silent < wait.next_line.max(FIRST_WAIT_LINE) {
            continue;
        }
        let (host, seconds) = (wait.host.clone(), silent.as_secs());
        lines += &wait_forms(&host, seconds, wait.attempt, wait.attempts, usize::MAX)[0];
        lines.push('\n');
        let next_line = Duration::from_secs(seconds - seconds % WAIT_INTERVAL.as_secs()) + WAIT_INTERVAL;
        let same_host = board.waits.iter_mut().filter(|wait| wait.host == host);
        same_host.for_each(|wait| wait.next_line = next_line);
    }
    lines
}

fn start_line(task: &Task) -> String {
    let mut line = task.label();
    if let Some(total) = task.amounts.total() {
        line += &format!(" ({}", task.unit.format(total));
        if task.base > 0 {
            line += &format!(", {} of it from an earlier attempt", task.unit.format(task.base));
        }
        line.push(')');
    }
    line + "\n"
}

/// Returns the line of a task that has ended. Without a line at its start, it has none.
pub(super) fn end_line(task: &Task, outcome: Outcome, now: Instant) -> String {
    if !task.is_announced {
        return String::new();
    }
    let (name, current) = (&task.name, task.amounts.current());
    let seconds = now.duration_since(task.started).as_secs_f64();
    let amount = match current {
        0 => String::new(),
        current => format!("{} ", task.unit.format(current)),
    };
    match outcome {
        Outcome::Reused => format!("{name} is there already\n"),
        Outcome::Stopped if task.unit == Unit::Bytes && current > 0 => {
            format!("stopped {} {name} at {}\n", task.action.present(), task.unit.format(current))
        }
        Outcome::Stopped => format!("stopped {} {name}\n", task.action.present()),
        Outcome::Done => format!("{} {name} ({amount}in {seconds:.1} s)\n", task.whole.past()),
    }
}

/// Returns the line about a long pause before a retry.
pub(super) fn retry_line(retry: &Retry<'_>) -> String {
    let Retry { host, reason, attempt, attempts, pause, is_requested } = *retry;
    if pause < SHORTEST_PAUSE {
        return String::new();
    }
    let seconds = pause.as_secs_f64().round();
    let verb = if is_requested { "asks to wait" } else { "failed, retrying in" };
    format!("{host} {verb} {seconds} s, try {attempt} of {attempts}: {reason}\n")
}
