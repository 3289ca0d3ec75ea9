//! The tasks and waits that are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::action::{Action, Outcome, Unit};
use super::rate::Rate;
use super::rows::{self, Row};
use crate::human::{format_bytes, format_remaining};

/// The number that stands for an unknown total.
const UNKNOWN: u64 = u64::MAX;

/// The amounts of a task, which its threads change without a lock.
#[derive(Debug)]
pub(super) struct Amounts {
    current: AtomicU64,
    total: AtomicU64,
}

impl Amounts {
    pub(super) fn new(current: u64, total: Option<u64>) -> Arc<Self> {
        Arc::new(Self { current: current.into(), total: total.unwrap_or(UNKNOWN).into() })
    }

    pub(super) fn set(&self, current: u64, total: Option<u64>) {
        self.total.store(total.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.current.store(current, Ordering::Relaxed);
    }

    pub(super) fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    pub(super) fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total != UNKNOWN)
    }
}

/// A task that is shown.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) group: Option<u64>,
    /// What it does now.
    pub(super) action: Action,
    /// What it does as a whole: a blob that is fetched is also unpacked.
    pub(super) whole: Action,
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) amounts: Arc<Amounts>,
    /// The amount at the beginning, from an earlier attempt.
    pub(super) base: u64,
    pub(super) rate: Rate,
    pub(super) started: Instant,
    /// The time from which it is shown.
    pub(super) visible_from: Instant,
    /// Whether its first line was printed.
    pub(super) is_announced: bool,
    /// The amount and the time of the last event.
    pub(super) last_event: (u64, Instant),
}

/// Tasks with a common total.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: u64,
    pub(super) visible_from: Instant,
    /// The total that is known before the tasks begin, in bytes.
    pub(super) planned: u64,
    /// The totals of tasks that are not part of the plan.
    pub(super) unplanned: u64,
    /// The amounts of tasks that have ended.
    pub(super) done: u64,
    /// The part of them that was done by these tasks.
    pub(super) advanced: u64,
    pub(super) rate: Rate,
}

/// A registry that is silent.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) request: u64,
    pub(super) host: String,
    pub(super) since: Instant,
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    /// The time without data at which the next line is printed.
    pub(super) next_line: Duration,
}

/// A pause before a retry.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) host: String,
    pub(super) until: Instant,
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    pub(super) is_requested: bool,
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) tasks: Vec<Task>,
    pub(super) groups: Vec<Group>,
    pub(super) waits: Vec<Wait>,
    pub(super) pauses: Vec<Pause>,
}

impl Task {
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.action.present(), self.name)
    }

    fn row(&self, now: Instant) -> Row {
        let (current, total) = (self.amounts.current(), self.amounts.total());
        let elapsed = now.duration_since(self.started).as_secs();
        let amount = match total {
            Some(total) if self.unit == Unit::Files => format!("{current}/{total} files"),
            Some(total) => format!("{}/{}", format_bytes(current), format_bytes(total)),
            // Work without amounts.
            None if current == 0 => format!("{elapsed} s"),
            None => self.unit.format(current),
        };
        let rate = self.rate.per_second().filter(|_| self.unit == Unit::Bytes && current > 0);
        let remaining = total.and_then(|total| self.rate.time_for(total.saturating_sub(current)));
        Row {
            label: self.label(),
            fraction: total.map(|total| fraction(current, total)),
            amount,
            rate: rate.map(|rate| format!("{}/s", format_bytes(rate as u64))),
            remaining: remaining.and_then(format_remaining),
        }
    }
}

/// Returns the part that is done. Nothing of nothing is all of it.
fn fraction(current: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { (current as f64 / total as f64).min(1.0) }
}

impl Board {
    pub(super) const fn new() -> Self {
        Self { tasks: Vec::new(), groups: Vec::new(), waits: Vec::new(), pauses: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.groups.is_empty() && self.waits.is_empty() && self.pauses.is_empty()
    }

    pub(super) fn group(&mut self, id: u64) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == id)
    }

    /// Removes a task, and adds its amounts to those of its group.
    pub(super) fn remove(&mut self, id: u64, outcome: Outcome) -> Option<Task> {
        let position = self.tasks.iter().position(|task| task.id == id)?;
        let task = self.tasks.remove(position);
        let current = task.amounts.current();
        let reached = if outcome == Outcome::Stopped { current } else { task.amounts.total().unwrap_or(current) };
        if let Some(group) = task.group.and_then(|group| self.group(group)) {
            group.done += reached;
            // A rest that was not transferred does not count for the rate.
            group.advanced += current.saturating_sub(task.base);
        }
        Some(task)
    }

    /// Measures all rates, and forgets the pauses that are over.
    pub(super) fn measure(&mut self, now: Instant) {
        for task in &mut self.tasks {
            task.rate.record(now, task.amounts.current());
        }
        for position in 0..self.groups.len() {
            let id = self.groups[position].id;
            let own = self.tasks.iter().filter(|task| task.group == Some(id));
            let running: u64 = own.map(|task| task.amounts.current().saturating_sub(task.base)).sum();
            let group = &mut self.groups[position];
            group.rate.record(now, group.advanced + running);
        }
        self.pauses.retain(|pause| pause.until > now);
    }

    /// Returns the rows for a terminal of `width` columns and `height` lines.
    pub(super) fn rows(&self, now: Instant, width: usize, height: usize) -> Vec<String> {
        // The last column stays free: some terminals move to the next line after it.
        let width = width.saturating_sub(1);
        let tasks = self.tasks.iter().filter(|task| task.visible_from <= now).map(|task| task.row(now));
        let tasks: Vec<Row> = tasks.collect();
        let totals: Vec<Row> = self.groups.iter().filter_map(|group| self.total_row(group, now)).collect();
        let waits = self.wait_rows(now, width);
        let mut lines = rows::format(&[&tasks[..], &totals].concat(), width);
        let totals = lines.split_off(tasks.len());
        // One line stays free for the output before the rows.
        let space = height.saturating_sub(1 + totals.len() + waits.len()).max(1);
        if lines.len() > space {
            let hidden = lines.len() - (space - 1);
            lines.truncate(space - 1);
            lines.push(rows::fit(&format!("and {hidden} more"), width));
        }
        lines.extend(waits);
        lines.extend(totals);
        // More rows than lines would scroll, and stay on the screen. The last ones say most.
        let surplus = lines.len().saturating_sub(height.saturating_sub(1).max(1));
        lines.drain(..surplus);
        lines
    }

    fn total_row(&self, group: &Group, now: Instant) -> Option<Row> {
        if group.visible_from > now {
            return None;
        }
        let own: Vec<&Task> = self.tasks.iter().filter(|task| task.group == Some(group.id)).collect();
        let current = group.done + own.iter().map(|task| task.amounts.current()).sum::<u64>();
        let total = group.planned.saturating_add(group.unplanned).max(current);
        if total == 0 {
            return None;
        }
        // The group was measured before its first task began. Of the only task, both rows show one rate.
        let measured = match own[..] {
            [only] if group.done == 0 && only.amounts.total() == Some(total) => &only.rate,
            _ => &group.rate,
        };
        let rate = measured.per_second().filter(|rate| *rate > 0.0);
        // The rate includes tasks that have ended. The last task alone may be slower.
        let of_task = |task: &&Task| task.rate.time_for(task.amounts.total()?.saturating_sub(task.amounts.current()));
        let remaining = measured.time_for(total - current).max(own.iter().filter_map(of_task).max());
        Some(Row {
            label: "total".to_owned(),
            fraction: Some(fraction(current, total)),
            amount: format!("{}/{}", format_bytes(current), format_bytes(total)),
            rate: rate.map(|rate| format!("{}/s", format_bytes(rate as u64))),
            remaining: remaining.and_then(format_remaining),
        })
    }

    /// Returns one row for each host: of several requests, that of the one that waits for the longest time.
    fn wait_rows(&self, now: Instant, width: usize) -> Vec<String> {
        let mut waits: Vec<&Wait> = self.waits.iter().collect();
        waits.sort_by(|a, b| (&a.host, a.since).cmp(&(&b.host, b.since)));
        waits.dedup_by(|later, first| later.host == first.host);
        let of_wait = |wait: &&Wait| {
            let seconds = now.duration_since(wait.since).as_secs();
            rows::first_fitting(&wait_forms(&wait.host, seconds, wait.attempt, wait.attempts, width), width)
        };
        let mut pauses: Vec<&Pause> = self.pauses.iter().collect();
        pauses.sort_by(|a, b| (&a.host, b.until).cmp(&(&b.host, a.until)));
        pauses.dedup_by(|later, first| later.host == first.host);
        let of_pause = |pause: &&Pause| {
            let seconds = pause.until.duration_since(now).as_secs_f64().ceil() as u64;
            rows::first_fitting(&pause_forms(pause, seconds, width), width)
        };
        waits.iter().map(of_wait).chain(pauses.iter().map(of_pause)).collect()
    }
}

/// Returns the message about a silent host, the longest form first.
pub(super) fn wait_forms(host: &str, seconds: u64, attempt: u32, attempts: u32, width: usize) -> Vec<String> {
    let short_host = |used: usize| rows::fit(host, width.saturating_sub(used).max(8));
    let time = format!("({seconds} s)");
    vec![
        format!("waiting for {host} {time}, try {attempt} of {attempts}"),
        format!("waiting for {host} {time}"),
        format!("{}: {seconds} s, try {attempt}", short_host(8 + seconds.to_string().len() + 6)),
    ]
}

/// Returns the message about a pause, the longest form first.
fn pause_forms(pause: &Pause, seconds: u64, width: usize) -> Vec<String> {
    let Pause { host, attempt, attempts, is_requested, .. } = pause;
    let short_host = rows::fit(host, width.saturating_sub(19).max(8));
    let verb = if *is_requested { "asks to wait" } else { "failed, retrying in" };
    vec![
        format!("{host} {verb} {seconds} s, try {attempt} of {attempts}"),
        format!("{host} {verb} {seconds} s"),
        format!("{short_host}: retry in {seconds} s"),
    ]
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn board(now: Instant) -> Board {
        let task = |id: u64, current, total| Task {
            id,
            group: Some(1),
            action: Action::Fetch,
            whole: Action::Fetch,
            name: format!("{id:012}"),
            unit: Unit::Bytes,
            amounts: Amounts::new(current, total),
            base: current,
            rate: Rate::default(),
            started: now,
            visible_from: now,
            is_announced: false,
            last_event: (0, now),
        };
        let group = Group {
            id: 1,
            visible_from: now,
            planned: 4 << 20,
            unplanned: 0,
            done: 0,
            advanced: 0,
            rate: Rate::default(),
        };
        let mut board = Board::new();
        board.tasks = vec![task(1, 1 << 20, Some(2 << 20)), task(2, 0, Some(1 << 20))];
        board.groups = vec![group];
        board
    }

    fn wait(host: &str, since: Instant) -> Wait {
        let next_line = Duration::ZERO;
        Wait { request: 1, host: host.to_owned(), since, attempt: 2, attempts: 6, next_line }
    }

    #[test]
    fn one_row_for_each_task_and_one_for_all() {
        let now = Instant::now();
        assert_eq!(
            board(now).rows(now, 60, 24),
            [
                "fetching 000000000001   50%       1.00 MiB/2.00 MiB",
                "fetching 000000000002    0%            0 B/1.00 MiB",
                "total                   25%       1.00 MiB/4.00 MiB",
            ]
        );
    }

    #[test]
    fn bytes_of_an_earlier_attempt_are_in_the_total_but_not_in_the_rate() {
        let now = Instant::now();
        let mut board = board(now);
        board.measure(now);
        board.tasks[1].amounts.set(1 << 19, Some(1 << 20));
        board.measure(now + Duration::from_secs(2));
        let rows = board.rows(now, 110, 24);
        assert!(rows[2].contains("1.50 MiB/4.00 MiB") && rows[2].contains("256.00 KiB/s"), "{rows:#?}");
        board.remove(1, Outcome::Done).unwrap();
        let rows = board.rows(now, 110, 24);
        assert!(rows[1].contains("2.50 MiB/4.00 MiB"), "{rows:#?}");
    }

    #[test]
    fn a_low_terminal_shows_the_first_rows_and_the_total() {
        let now = Instant::now();
        let mut board = board(now);
        for id in 3..10 {
            let task = Task { id, name: format!("{id:012}"), ..super::tests::board(now).tasks.remove(1) };
            board.tasks.push(task);
        }
        let rows = board.rows(now, 40, 5);
        assert_eq!(rows.len(), 4, "{rows:?}");
        assert_eq!(rows[2], "and 7 more");
        assert!(rows[3].starts_with("total"));
    }

    #[test]
    fn rows_never_fill_the_terminal() {
        let now = Instant::now();
        let mut board = board(now);
        for id in 3..200 {
            let name = "長い名前".repeat(id as usize);
            let task = Task { id, name, ..super::tests::board(now).tasks.remove(1) };
            task.amounts.set(0, Some(0));
            board.tasks.push(task);
        }
        let since = now.checked_sub(Duration::from_secs(9)).unwrap();
        board.waits = (0..4).map(|number| wait(&format!("mirror-{number}.example"), since)).collect();
        for width in [1, 2, 8, 30, 80] {
            for height in 1..40 {
                let rows = board.rows(now, width, height);
                assert!(rows.len() <= (height - 1).max(1), "{width}x{height}: {rows:?}");
                assert!(rows.iter().all(|row| row.width() < width), "{width}x{height}: {rows:?}");
                assert!(width < 30 || rows.last().unwrap().starts_with("total"), "{width}x{height}: {rows:?}");
            }
        }
    }

    #[test]
    fn a_silent_host_is_named_at_every_width() {
        let now = Instant::now() + Duration::from_secs(60);
        let mut board = Board::new();
        let since = |seconds| now - Duration::from_secs(seconds);
        board.waits = vec![wait("registry.example", since(5)), wait("registry.example", since(12))];
        assert_eq!(board.rows(now, 110, 24), ["waiting for registry.example (12 s), try 2 of 6"]);
        assert_eq!(board.rows(now, 48, 24), ["waiting for registry.example (12 s), try 2 of 6"]);
        assert_eq!(board.rows(now, 40, 24), ["waiting for registry.example (12 s)"]);
        assert_eq!(board.rows(now, 34, 24), ["registry.example: 12 s, try 2"]);
        assert_eq!(board.rows(now, 27, 24), ["regis…mple: 12 s, try 2"]);
        board.waits = vec![wait("registry.example", since(1)), wait("mirror.example:5000", since(3))];
        assert_eq!(board.rows(now, 80, 24).len(), 2);
        let pause = |is_requested| Pause {
            host: "registry.example".to_owned(),
            until: now + Duration::from_secs(30),
            attempt: 2,
            attempts: 6,
            is_requested,
        };
        board.waits.clear();
        board.pauses = vec![pause(true)];
        assert_eq!(board.rows(now, 80, 24), ["registry.example asks to wait 30 s, try 2 of 6"]);
        board.pauses = vec![pause(false)];
        assert_eq!(board.rows(now, 80, 24), ["registry.example failed, retrying in 30 s, try 2 of 6"]);
        for width in 20..100 {
            assert!(board.rows(now, width, 24).iter().all(|row| row.width() < width), "{width}");
        }
    }
}
