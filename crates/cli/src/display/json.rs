//! Progress as events: one JSON object a line (docs/progress.md).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Retry;
use super::action::Outcome;
use super::board::{Board, Task};

/// The shortest time between two events about the amount of a task.
const INTERVAL: Duration = Duration::from_millis(500);

/// Returns the events that are due: of tasks that start or advance.
pub(super) fn due_events(board: &mut Board, now: Instant) -> String {
    let mut events = String::new();
    for task in &mut board.tasks {
        let current = task.amounts.current();
        let (last, time) = task.last_event;
        if !std::mem::replace(&mut task.is_announced, true) {
            task.last_event = (current, now);
            events += &line(&task_event("start", task));
        } else if current != last && now.duration_since(time) >= INTERVAL {
            task.last_event = (current, now);
            events += &line(&task_event("progress", task));
        }
    }
    events
}

fn task_event(name: &str, task: &Task) -> Value {
    json!({
        "event": name,
        "task": task.id,
        "action": task.action.name(),
        "name": task.name,
        "unit": task.unit.name(),
        "current": task.amounts.current(),
        "total": task.amounts.total(),
    })
}

/// Returns the event of a task that has ended.
pub(super) fn end_event(task: &Task, outcome: Outcome, now: Instant) -> String {
    let mut event = task_event("end", task);
    event["action"] = task.whole.name().into();
    event["outcome"] = outcome.name().into();
    event["seconds"] = seconds(now.duration_since(task.started));
    line(&event)
}

pub(super) fn wait(host: &str, silent_for: Duration, attempt: u32, attempts: u32) -> String {
    line(&json!({
        "event": "wait",
        "host": host,
        "seconds": seconds(silent_for),
        "try": attempt,
        "tries": attempts,
    }))
}

pub(super) fn retry(retry: &Retry<'_>) -> String {
    line(&json!({
        "event": "retry",
        "host": retry.host,
        "reason": retry.reason,
        "try": retry.attempt,
        "tries": retry.attempts,
        "pause": seconds(retry.pause),
        "requested": retry.is_requested,
    }))
}

pub(super) fn place(failed: &str, next: &str, reason: &str) -> String {
    line(&json!({ "event": "place", "failed": failed, "next": next, "reason": reason }))
}

/// Returns a note, an error or a hint.
pub(super) fn message(name: &str, text: &str) -> String {
    line(&json!({ "event": name, "text": text }))
}

/// Returns an error with the members that it has for `--json`.
pub(super) fn error_object(object: &Value) -> String {
    let mut event = object.clone();
    event["event"] = "error".into();
    event["text"] = object["message"].clone();
    line(&event)
}

pub(super) fn log(level: &str, target: &str, text: &str) -> String {
    line(&json!({ "event": "log", "level": level, "target": target, "text": text }))
}

/// Returns a time in seconds, to the millisecond.
fn seconds(time: Duration) -> Value {
    (time.as_millis() as f64 / 1000.0).into()
}

fn line(event: &Value) -> String {
    let text = event.to_string();
    // Serialised strings have no raw control characters but those above ASCII, such as U+009B.
    format!("{}\n", crate::printable::escape_json(&text))
}
