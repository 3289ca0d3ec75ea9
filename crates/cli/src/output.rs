//! Writing to standard output and standard error. Only the data of exports does not go through this module.
//!
//! On a terminal, control characters are escaped: see [`printable`](crate::printable). Pipes and files get the bytes of
//! results unchanged. Messages on standard error are always escaped, so that a name cannot forge a line of a log.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmroot::output::Omissions;

use crate::display::{self, Hidden, Message};
use crate::exit::Advised;
pub(crate) use crate::human::format_bytes;
use crate::printable::{LineBreaks, escape, escape_json};

/// Whether notes are silenced.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Silences notes from now on, for `--quiet`.
pub(crate) fn silence_notes() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Standard output, for results. [`is_closed_by_reader`] recognises the error of a closed pipe.
pub(crate) struct Stdout {
    stdout: StdoutLock<'static>,
    /// Keeps the rows of progress away from a terminal that shows the results too.
    _hidden: Option<Hidden>,
}

/// Returns standard output for bytes that are not escaped, such as files of an image.
pub(crate) fn stdout() -> Stdout {
    let hidden = io::stdout().is_terminal().then(display::hide);
    Stdout { stdout: io::stdout().lock(), _hidden: hidden }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes).map_err(mark)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush().map_err(mark)
    }
}

/// The error of a standard output whose reader has closed it, as in `vmroot ls image | head`.
#[derive(Debug)]
struct ClosedByReader;

impl fmt::Display for ClosedByReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for ClosedByReader {}

/// An error of standard output, with its name.
#[derive(Debug)]
pub(crate) struct StdoutFailed(io::Error);

impl fmt::Display for StdoutFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write standard output: {}", self.0)
    }
}

impl std::error::Error for StdoutFailed {}

fn mark(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ClosedByReader),
        // The caller repeats the call.
        io::ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, StdoutFailed(error)),
    }
}

/// Returns whether an error means that the reader of [`Stdout`] has closed it. Archives and exports do not write through
/// [`Stdout`], so a closed pipe is a failure for them: what they wrote is incomplete.
pub(crate) fn is_closed_by_reader(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<ClosedByReader>())
}

/// Returns whether standard output is a pipe or a socket that has no reader any more.
pub(crate) fn is_stdout_closed() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Fails if standard output is a terminal, which shows `what` as nonsense. `remedy` says what to do.
pub(crate) fn refuse_terminal(what: &str, remedy: &str) -> Result<(), Advised> {
    match io::stdout().is_terminal() {
        true => Err(Advised::usage(format!("{what} does not go to a terminal"), remedy)),
        false => Ok(()),
    }
}

/// Buffered standard output for many lines.
pub(crate) struct Lines {
    out: BufWriter<Stdout>,
    is_terminal: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(stdout()), is_terminal: io::stdout().is_terminal() }
    }

    /// Prints a line. Line breaks in `text` are escaped on a terminal, as parts of a name.
    pub(crate) fn print(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let text = text.as_ref();
        match self.is_terminal {
            true => self.out.write_all(&escape(text, LineBreaks::Escaped))?,
            false => self.out.write_all(text)?,
        }
        self.out.write_all(b"\n")
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints a line. Line breaks in `text` are escaped on a terminal, as parts of a name.
pub(crate) fn print_line(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut lines = Lines::new();
    lines.print(text)?;
    lines.finish()
}

/// Prints text of several lines, and keeps its line breaks and tabs.
pub(crate) fn print_text(text: &[u8]) -> io::Result<()> {
    let text = if io::stdout().is_terminal() { escape(text, LineBreaks::Kept) } else { text.into() };
    stdout().write_all(&text)
}

/// Prints indented JSON and a newline.
pub(crate) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print_json_text(&serde_json::to_string_pretty(value).expect("all keys of a JSON value are strings"))
}

/// Prints the only one of `count` results as an object, and several as an array.
pub(crate) fn print_one_or_list(mut values: Vec<serde_json::Value>, count: usize) -> io::Result<()> {
    match (count, values.pop()) {
        (1, Some(only)) => print_json(&only),
        (_, last) => {
            values.extend(last);
            print_json(&values.into())
        }
    }
}

/// Prints serialised JSON and a newline.
pub(crate) fn print_json_text(json: &str) -> io::Result<()> {
    let json = if io::stdout().is_terminal() { escape_json(json) } else { json.into() };
    let mut out = stdout();
    out.write_all(json.as_bytes())?;
    out.write_all(b"\n")
}

/// Prints a table. Each column is as wide as its widest cell.
pub(crate) fn print_table(header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let is_terminal = io::stdout().is_terminal();
    let shown = |cell: &String| match is_terminal {
        true => String::from_utf8_lossy(&escape(cell.as_bytes(), LineBreaks::Escaped)).into_owned(),
        false => cell.clone(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut lines = Lines::new();
    let mut print = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        lines.print(padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    print(header.to_vec())?;
    rows.iter().try_for_each(|row| print(row.iter().map(String::as_str).collect()))?;
    lines.finish()
}

/// Prints a note for the user on one line, unless notes are silenced.
pub(crate) fn print_note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        write_stderr(Message::Note, text, text, LineBreaks::Escaped);
    }
}

/// Prints an error on one line.
pub(crate) fn print_error(text: &str) {
    write_stderr(Message::Error, &format!("vmroot: {text}"), text, LineBreaks::Escaped);
}

/// Prints a hint after an error, on one line. The text of its event has no `hint: `.
pub(crate) fn print_hint(text: &str) {
    let bare = text.strip_prefix("hint: ").unwrap_or(text);
    write_stderr(Message::Hint, text, bare, LineBreaks::Escaped);
}

/// Prints the help of a command whose subcommand is missing.
pub(crate) fn print_help_on_stderr(text: &str) {
    write_stderr(Message::Note, text, text, LineBreaks::Kept);
}

/// Prints an error as JSON on one line.
pub(crate) fn print_json_error(value: &serde_json::Value) {
    let json = value.to_string();
    let json = if io::stderr().is_terminal() { escape_json(&json) } else { json.into() };
    display::print_error_object(&[json.as_bytes(), b"\n"].concat(), value);
}

/// Prints an error with the lines of a guest's console or of another program below it.
pub(crate) fn print_long_error(text: &str) {
    write_stderr(Message::Error, &format!("vmroot: {text}"), text, LineBreaks::Kept);
}

/// Prints a line, or the event with `text`.
fn write_stderr(kind: Message, line: &str, text: &str, breaks: LineBreaks) {
    display::print(kind, &[&escape(line.as_bytes(), breaks), &b"\n"[..]].concat(), text);
}

/// Escapes text for a terminal that another module writes to.
pub(crate) fn escape_for_terminal(text: &str) -> String {
    String::from_utf8_lossy(&escape(text.as_bytes(), LineBreaks::Escaped)).into_owned()
}

/// The number of omissions that are printed; further ones are only counted.
pub(crate) const MAX_PRINTED_OMISSIONS: usize = 20;

/// Prints the omissions of an export or a mount, as notes.
pub(crate) fn print_omissions(omissions: &Omissions) {
    omissions.lines(MAX_PRINTED_OMISSIONS).iter().for_each(|line| print_note(line));
}
