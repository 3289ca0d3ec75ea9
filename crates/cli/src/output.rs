//! The only place that writes to standard output and standard error.

use std::io::{self, Write};

use vmroot::export::Omissions;

/// Prints a line.
pub(crate) fn line(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.write_all(b"\n")
}

/// Prints JSON, indented, and a newline.
pub(crate) fn json(value: &serde_json::Value) -> io::Result<()> {
    line(serde_json::to_string_pretty(value).expect("a JSON value has no keys but strings"))
}

/// Prints a table, its columns as wide as their widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
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

/// Says something to a person.
#[allow(clippy::print_stderr)] // This function is what everybody else calls.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Says what went wrong.
pub(crate) fn error(text: &str) {
    note(&format!("vmroot: {text}"));
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
