//! The display on standard error: notes, log lines and errors, and the progress of work.
//!
//! There is one display for the process, because all threads share the terminal. With bars, the rows are below all other
//! output. The cursor stays at the beginning of the first row: erasing from there to the end of the screen removes the
//! rows, however the terminal has wrapped them after its width has changed.

mod action;
mod board;
mod json;
mod plain;
mod rate;
mod rows;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use self::action::{Action, Outcome, Unit};
use self::board::{Amounts, Board, Pause, Wait};
use self::rate::Rate;
use crate::args::ProgressMode;

/// The interval at which rows are drawn and times are checked.
const TICK: Duration = Duration::from_millis(100);

/// The time after which work that is usually short is shown.
pub(crate) const LONG: Duration = Duration::from_secs(1);

/// The shortest pause before a retry that is shown.
const SHOWN_PAUSE: Duration = Duration::from_secs(1);

/// The size that is assumed for a terminal that does not state its own.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

static DISPLAY: Mutex<Display> = Mutex::new(Display::new());

/// The state of the display.
struct Display {
    mode: ProgressMode,
    board: Board,
    /// The text of the rows that are on the terminal.
    drawn: String,
    /// The number of owners of the terminal that hide the rows.
    hidden: u32,
    /// Whether the thread runs that draws.
    is_ticking: bool,
    /// Whether the display has ended.
    is_closed: bool,
}

impl Display {
    const fn new() -> Self {
        Self {
            mode: ProgressMode::None,
            board: Board::new(),
            drawn: String::new(),
            hidden: 0,
            is_ticking: false,
            is_closed: false,
        }
    }

    /// Writes to standard error, above the rows.
    fn write(&mut self, bytes: &[u8]) {
        // In the background, the cursor is no longer at the rows.
        let has_rows = !self.drawn.is_empty() && is_in_foreground();
        let erase: &[u8] = if has_rows { b"\r\x1b[J" } else { b"" };
        self.drawn.clear();
        // An error is ignored: standard error is where it would be printed.
        let _ = io::stderr().write_all(&[erase, bytes].concat());
    }

    /// Removes the rows from the terminal.
    fn erase(&mut self) {
        if !self.drawn.is_empty() {
            self.write(b"");
        }
    }

    fn draw(&mut self, now: Instant) {
        if self.mode != ProgressMode::Bar || self.hidden > 0 || self.is_closed {
            return;
        }
        if !is_in_foreground() {
            self.drawn.clear();
            return;
        }
        let (width, height) = terminal_size();
        let rows = self.board.rows(now, width, height);
        if rows.is_empty() {
            return self.erase();
        }
        // Each row removes what is left of the former one in its line.
        let mut text = format!("\r{}\x1b[J", rows.join("\x1b[K\r\n"));
        if rows.len() > 1 {
            text += &format!("\x1b[{}A", rows.len() - 1);
        }
        text.push('\r');
        if text != self.drawn {
            let _ = io::stderr().write_all(text.as_bytes());
            self.drawn = text;
        }
    }

    /// Draws the rows, or prints the lines that are due.
    fn tick(&mut self, now: Instant) {
        self.board.measure(now);
        let lines = match self.mode {
            ProgressMode::Bar => return self.draw(now),
            ProgressMode::Plain => plain::due_lines(&mut self.board, now),
            ProgressMode::Json => json::due_events(&mut self.board, now),
            ProgressMode::None => return,
        };
        self.write(lines.as_bytes());
    }

    /// Starts the thread that draws, unless it runs.
    fn start_ticking(&mut self) {
        if self.is_ticking || self.mode == ProgressMode::None || self.is_closed {
            return;
        }
        // Without a thread, the work goes on without progress.
        let started = thread::Builder::new().name("display".to_owned()).spawn(|| {
            loop {
                thread::sleep(TICK);
                let mut display = lock();
                if display.board.is_empty() || display.is_closed {
                    display.is_ticking = false;
                    display.erase();
                    return;
                }
                display.tick(Instant::now());
            }
        });
        self.is_ticking = started.is_ok();
    }
}

fn lock() -> MutexGuard<'static, Display> {
    DISPLAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether this process may draw on the terminal. After `bg` or with `&`, the shell and other programs write there.
fn is_in_foreground() -> bool {
    // Without a process group, the terminal is not the controlling one, and no shell changes it.
    rustix::termios::tcgetpgrp(io::stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Returns the columns and lines of the terminal of standard error.
fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => DEFAULT_SIZE,
    }
}

/// Starts the display. Without a mode, it has bars on a terminal, and lines elsewhere. Bars need a terminal that can move
/// its cursor.
pub(crate) fn start(mode: Option<ProgressMode>, quiet: bool) {
    let has_bars = io::stderr().is_terminal() && crate::environment::can_move_cursor();
    lock().mode = match mode {
        _ if quiet => ProgressMode::None,
        None | Some(ProgressMode::Bar) if has_bars => ProgressMode::Bar,
        None | Some(ProgressMode::Bar) => ProgressMode::Plain,
        Some(mode) => mode,
    };
}

/// Returns whether progress is shown in any form.
pub(crate) fn is_shown() -> bool {
    lock().mode != ProgressMode::None
}

/// Returns whether each line on standard error is an event.
pub(crate) fn is_json() -> bool {
    lock().mode == ProgressMode::Json
}

/// Ends the display: the rows are removed, and no further ones are drawn. Messages are still printed.
pub(crate) fn close() {
    let mut display = lock();
    display.erase();
    display.is_closed = true;
}

/// Ends the display like [`close`], unless that could wait: another thread may be writing, the terminal may be stopped, or
/// a pipe may not be read. Returns whether a last message can be printed.
pub(crate) fn close_unless_blocked() -> bool {
    let Ok(mut display) = DISPLAY.try_lock() else { return false };
    let stderr = io::stderr();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    if !poll(&mut ready, Some(&Timespec::default())).is_ok_and(|count| count > 0) {
        return false;
    }
    display.erase();
    display.is_closed = true;
    true
}

/// Writes a question, after which the cursor stays.
pub(crate) fn write_prompt(question: &str) {
    lock().write(question.as_bytes());
}

/// The kind of a message on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Note,
    Error,
    Hint,
}

impl Message {
    const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Error => "error",
            Self::Hint => "hint",
        }
    }
}

/// Prints a message that ends with a line break, above the rows. `text` is the same without the line break, for an event.
pub(crate) fn print(kind: Message, line: &[u8], text: &str) {
    let mut display = lock();
    match display.mode {
        ProgressMode::Json => display.write(json::message(kind.name(), text).as_bytes()),
        _ => display.write(line),
    }
    display.draw(Instant::now());
}

/// Prints an error that is a JSON object. As an event, it has the object's members too.
pub(crate) fn print_error_object(line: &[u8], object: &serde_json::Value) {
    let mut display = lock();
    match display.mode {
        ProgressMode::Json => display.write(json::error_object(object).as_bytes()),
        _ => display.write(line),
    }
}

/// Writes lines of the log, above the rows.
pub(crate) fn write_log(lines: &[u8]) {
    let mut display = lock();
    display.write(lines);
    display.draw(Instant::now());
}

/// Returns a line of the log as an event.
pub(crate) fn log_event(level: &str, target: &str, text: &str) -> String {
    json::log(level, target, text)
}

/// Hides the rows while this exists, for another owner of the terminal.
pub(crate) struct Hidden(());

/// Hides the rows.
pub(crate) fn hide() -> Hidden {
    let mut display = lock();
    display.erase();
    display.hidden += 1;
    Hidden(())
}

impl Drop for Hidden {
    fn drop(&mut self) {
        lock().hidden -= 1;
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Tasks with a common total, which is shown in a row of its own.
pub(crate) struct Group {
    id: u64,
    delay: Duration,
}

impl Group {
    /// Creates a group that is shown after `delay`, if it still exists then.
    pub(crate) fn new(delay: Duration) -> Self {
        let id = next_id();
        let visible_from = Instant::now() + delay;
        let rate = Rate::default();
        let group = board::Group { id, visible_from, planned: 0, unplanned: 0, done: 0, advanced: 0, rate };
        lock().board.groups.push(group);
        Self { id, delay }
    }

    /// Sets the bytes that the tasks of the plan will transfer in total.
    pub(crate) fn plan(&self, bytes: u64) {
        if let Some(group) = lock().board.group(self.id) {
            group.planned = bytes;
        }
    }

    /// Counts bytes of the plan that need no transfer.
    pub(crate) fn skip(&self, bytes: u64) {
        if let Some(group) = lock().board.group(self.id) {
            group.done = group.done.saturating_add(bytes);
        }
    }

    /// Begins a task of the group. Its total is added to that of the group, unless it is planned.
    pub(crate) fn begin(&self, new: NewTask, is_planned: bool) -> Task {
        if !is_planned && let Some(group) = lock().board.group(self.id) {
            group.unplanned = group.unplanned.saturating_add(new.total.unwrap_or_default());
        }
        new.begin(Some(self.id), self.delay)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut display = lock();
        display.board.groups.retain(|group| group.id != self.id);
        if display.board.is_empty() {
            display.erase();
        }
    }
}

/// The description of a new task.
#[derive(Debug, Clone)]
pub(crate) struct NewTask {
    pub(crate) action: Action,
    /// The name, which is escaped.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// What is there from an earlier attempt.
    pub(crate) current: u64,
    pub(crate) total: Option<u64>,
}

impl NewTask {
    /// Returns a task of an unknown number of bytes.
    pub(crate) fn new(action: Action, name: impl Into<String>) -> Self {
        Self { action, name: name.into(), unit: Unit::Bytes, current: 0, total: None }
    }

    /// Begins a task without a group, which is shown after `delay` if it still exists then.
    pub(crate) fn start(self, delay: Duration) -> Task {
        self.begin(None, delay)
    }

    fn begin(self, group: Option<u64>, delay: Duration) -> Task {
        let Self { action, name, unit, current, total } = self;
        let (id, now) = (next_id(), Instant::now());
        let amounts = Amounts::new(current, total);
        let mut rate = Rate::default();
        rate.record(now, current);
        let task = board::Task {
            id,
            group,
            action,
            whole: action,
            name: crate::output::escape_for_terminal(&name),
            unit,
            amounts: Arc::clone(&amounts),
            base: current,
            rate,
            started: now,
            visible_from: now + delay,
            is_announced: false,
            last_event: (current, now),
        };
        let mut display = lock();
        display.board.tasks.push(task);
        display.start_ticking();
        // The lines of work that is shown at once are printed even if it ends before the next tick.
        if delay.is_zero() && display.mode != ProgressMode::Bar || display.mode == ProgressMode::Json {
            display.tick(now);
        }
        Task { id, amounts, action }
    }
}

/// A task that is shown. It counts as stopped if it is dropped before [`Task::end`].
pub(crate) struct Task {
    id: u64,
    amounts: Arc<Amounts>,
    /// What it does now.
    action: Action,
}

impl Task {
    /// Sets the amounts.
    pub(crate) fn set(&self, current: u64, total: Option<u64>) {
        self.amounts.set(current, total);
    }

    /// Returns whether all of a known total is done, or an unknown total has grown.
    pub(crate) fn is_complete(&self) -> bool {
        let current = self.amounts.current();
        self.amounts.total().map_or(current > 0, |total| current >= total)
    }

    /// Sets what the task does now.
    pub(crate) fn set_action(&mut self, action: Action) {
        if std::mem::replace(&mut self.action, action) != action
            && let Some(task) = lock().board.tasks.iter_mut().find(|task| task.id == self.id)
        {
            task.action = action;
        }
    }

    /// Ends the task.
    pub(crate) fn end(self, outcome: Outcome) {
        end(self.id, outcome);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        end(self.id, Outcome::Stopped);
    }
}

/// Ends a task, unless it has ended.
fn end(id: u64, outcome: Outcome) {
    let mut display = lock();
    let now = Instant::now();
    let Some(task) = display.board.remove(id, outcome) else { return };
    let line = match display.mode {
        ProgressMode::Plain => plain::end_line(&task, outcome, now),
        ProgressMode::Json => json::end_event(&task, outcome, now),
        _ => String::new(),
    };
    if !line.is_empty() && !display.is_closed {
        display.write(line.as_bytes());
    }
    if display.board.is_empty() {
        display.erase();
    }
}

/// Shows that a host has sent nothing for a while.
pub(crate) fn waiting(request: u64, host: &str, silent_for: Duration, attempt: u32, attempts: u32) {
    let mut display = lock();
    let now = Instant::now();
    let since = now.checked_sub(silent_for).unwrap_or(now);
    let waits = &mut display.board.waits;
    match waits.iter_mut().find(|wait| wait.request == request) {
        Some(wait) => (wait.since, wait.attempt, wait.attempts) = (since, attempt, attempts),
        None => {
            let (host, next_line) = (crate::output::escape_for_terminal(host), Duration::ZERO);
            waits.push(Wait { request, host, since, attempt, attempts, next_line });
        }
    }
    if display.mode == ProgressMode::Json {
        let event = json::wait(host, silent_for, attempt, attempts);
        display.write(event.as_bytes());
    }
    display.start_ticking();
}

/// Shows no longer that the host of a request is silent.
pub(crate) fn answered(request: u64) {
    let mut display = lock();
    display.board.waits.retain(|wait| wait.request != request);
    if display.board.is_empty() {
        display.erase();
    }
}

/// Shows a pause before a retry, if it is long enough to be noticed.
pub(crate) fn retrying(retry: &Retry<'_>) {
    let mut display = lock();
    match display.mode {
        ProgressMode::Json => display.write(json::retry(retry).as_bytes()),
        ProgressMode::Plain => display.write(plain::retry_line(retry).as_bytes()),
        ProgressMode::Bar if retry.pause >= SHOWN_PAUSE => {
            let host = crate::output::escape_for_terminal(retry.host);
            let Retry { attempt, attempts, is_requested, .. } = *retry;
            let until = Instant::now() + retry.pause;
            display.board.pauses.push(Pause { host, until, attempt, attempts, is_requested });
            display.start_ticking();
        }
        _ => {}
    }
}

/// Reports that the next place of an image is tried.
pub(crate) fn next_place(failed: &str, next: &str, reason: &str) {
    let mut display = lock();
    if display.mode == ProgressMode::Json {
        display.write(json::place(failed, next, reason).as_bytes());
    }
}

/// A retry of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry<'a> {
    pub(crate) host: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) attempt: u32,
    pub(crate) attempts: u32,
    pub(crate) pause: Duration,
    pub(crate) is_requested: bool,
}
