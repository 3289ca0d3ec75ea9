//! The only place that writes to standard output and standard error, but for the bytes of exports.
//!
//! What a terminal would obey is escaped here, where text leaves the program: see [`printable`](crate::printable). What is
//! no terminal gets the bytes as they are.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use vmroot::output::Omissions;

use crate::printable::{LineBreaks, printable, printable_json};

/// Whether only results and errors are printed.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Has notes left out from now on, as `--quiet` asks.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Standard output, for results. An error of it says when its reader has gone: see [`reader_is_gone`].
pub(crate) struct Out {
    stdout: StdoutLock<'static>,
}

/// Standard output for bytes that are shown as they are, as files of an image.
pub(crate) fn raw() -> Out {
    Out { stdout: io::stdout().lock() }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes).map_err(mark)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush().map_err(mark)
    }
}

/// The reader of our results has had enough of them, as in `vmroot ls image | head`.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for ReaderGone {}

fn mark(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone),
        _ => error,
    }
}

/// Whether this is an error of [`Out`] because nobody reads any more. An export that nobody reads to its end is none: it
/// does not write here, and is not done.
pub(crate) fn reader_is_gone(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<ReaderGone>())
}

/// Standard output for many lines.
pub(crate) struct Lines {
    out: BufWriter<Out>,
    is_terminal: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(raw()), is_terminal: io::stdout().is_terminal() }
    }

    /// Prints a line. A line break in it is part of a name.
    pub(crate) fn line(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let text = text.as_ref();
        match self.is_terminal {
            true => self.out.write_all(&printable(text, LineBreaks::Escaped))?,
            false => self.out.write_all(text)?,
        }
        self.out.write_all(b"\n")
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints a line. A line break in it is part of a name.
pub(crate) fn line(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut lines = Lines::new();
    lines.line(text)?;
    lines.finish()
}

/// Prints text that has line breaks of its own.
pub(crate) fn text(text: &[u8]) -> io::Result<()> {
    let text = if io::stdout().is_terminal() { printable(text, LineBreaks::Kept) } else { text.into() };
    raw().write_all(&text)
}

/// Prints JSON, indented, and a newline.
pub(crate) fn json(value: &serde_json::Value) -> io::Result<()> {
    json_text(&serde_json::to_string_pretty(value).expect("a JSON value has no keys but strings"))
}

/// Prints JSON that is text already, and a newline.
pub(crate) fn json_text(json: &str) -> io::Result<()> {
    let json = if io::stdout().is_terminal() { printable_json(json) } else { json.into() };
    let mut out = raw();
    out.write_all(json.as_bytes())?;
    out.write_all(b"\n")
}

/// Prints a table, its columns as wide as their widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let is_terminal = io::stdout().is_terminal();
    let shown = |cell: &String| match is_terminal {
        true => String::from_utf8_lossy(&printable(cell.as_bytes(), LineBreaks::Escaped)).into_owned(),
        false => cell.clone(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let print = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    print(header.to_vec())?;
    rows.iter().try_for_each(|row| print(row.iter().map(String::as_str).collect()))
}

/// Says something to a person, on one line, unless that is not wanted.
pub(crate) fn note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        say(text, LineBreaks::Escaped);
    }
}

/// Says what went wrong, on one line.
pub(crate) fn error(text: &str) {
    say(&format!("vmroot: {text}"), LineBreaks::Escaped);
}

/// Says what to do about it, on one line.
pub(crate) fn advice(text: &str) {
    say(text, LineBreaks::Escaped);
}

/// Says what went wrong, and under it what a guest or a program had to say.
pub(crate) fn long_error(text: &str) {
    say(&format!("vmroot: {text}"), LineBreaks::Kept);
}

fn say(text: &str, breaks: LineBreaks) {
    let mut stderr = io::stderr().lock();
    let text = if stderr.is_terminal() { printable(text.as_bytes(), breaks) } else { text.as_bytes().into() };
    // There is nobody to tell that nobody listens.
    let _ = stderr.write_all(&[&text, &b"\n"[..]].concat());
}

/// Text that is shown on a terminal by others than this module.
pub(crate) fn for_terminal(text: &str) -> String {
    String::from_utf8_lossy(&printable(text.as_bytes(), LineBreaks::Escaped)).into_owned()
}

/// Bytes for people: three digits, and a unit that is a power of 1024.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// What a form could not hold is shown this often, and counted from there.
pub(crate) const SHOWN: usize = 20;

/// Says what is not as in the image.
pub(crate) fn omissions(omissions: &Omissions) {
    omissions.lines(SHOWN).iter().for_each(|line| note(line));
}
