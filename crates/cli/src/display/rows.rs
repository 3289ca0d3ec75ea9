//! The rows of bars, as text for a width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of the label's column without longer labels: `unpacking 0123456789ab`.
const LABEL_WIDTH: usize = 22;
/// The columns after the label, in the order of their importance: a row has as many of the first ones as fit.
const PERCENT_WIDTH: usize = 4;
const AMOUNT_WIDTH: usize = 23;
const SHORTEST_BAR: usize = 10;
const LONGEST_BAR: usize = 40;
const RATE_WIDTH: usize = 13;
const REMAINING_WIDTH: usize = 6;

/// The contents of a row.
#[derive(Debug, Default, Clone)]
pub(super) struct Row {
    pub(super) label: String,
    /// The part that is done, 0 to 1, if the total is known.
    pub(super) fraction: Option<f64>,
    /// The amount, with the total if that is known.
    pub(super) amount: String,
    pub(super) rate: Option<String>,
    pub(super) remaining: Option<String>,
}

/// The widths of the columns. A width of 0 means that there is no such column.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    label: usize,
    percent: usize,
    amount: usize,
    bar: usize,
    rate: usize,
    remaining: usize,
}

impl Layout {
    /// Returns the layout for rows of `width` columns, the longest label of which has `longest` columns.
    fn new(width: usize, longest: usize) -> Self {
        let label = longest.clamp(LABEL_WIDTH, (width / 2).max(LABEL_WIDTH)).min(width);
        let mut left = width - label;
        let mut is_full = false;
        let mut take = |columns: usize| {
            is_full |= left <= columns;
            if is_full {
                return 0;
            }
            // One more for the space before the column.
            left -= columns + 1;
            columns
        };
        let (percent, amount, bar) = (take(PERCENT_WIDTH), take(AMOUNT_WIDTH), take(SHORTEST_BAR + 2));
        let (rate, remaining) = (take(RATE_WIDTH), take(REMAINING_WIDTH));
        let bar = if bar == 0 { 0 } else { (bar + left).min(LONGEST_BAR + 2) };
        Self { label, percent, amount, bar, rate, remaining }
    }
}

/// Returns the rows as text. None is wider than `width`.
pub(super) fn format(rows: &[Row], width: usize) -> Vec<String> {
    let longest = rows.iter().map(|row| row.label.width()).max().unwrap_or_default();
    let layout = Layout::new(width, longest);
    rows.iter().map(|row| format_row(row, &layout)).collect()
}

fn format_row(row: &Row, layout: &Layout) -> String {
    let mut text = fit(&row.label, layout.label);
    let padding = layout.label - text.width();
    text.extend(std::iter::repeat_n(' ', padding));
    let percent = row.fraction.map(|fraction| format!("{}%", (fraction * 100.0) as u32));
    let mut add = |column: &str, width: usize| {
        if width > 0 {
            text.push_str(&format!(" {column:>width$}"));
        }
    };
    // Without a column for amounts, an amount without a total takes that of the percentage if it fits.
    let short = percent.unwrap_or_default();
    add(&short, layout.percent);
    add(&row.amount, layout.amount);
    add(&row.fraction.map_or_else(String::new, |fraction| bar(fraction, layout.bar)), layout.bar);
    add(row.rate.as_deref().unwrap_or_default(), layout.rate);
    add(row.remaining.as_deref().unwrap_or_default(), layout.remaining);
    let end = text.trim_end().len();
    text.truncate(end);
    text
}

/// Returns a bar of `width` columns, its brackets included.
fn bar(fraction: f64, width: usize) -> String {
    let Some(inner) = width.checked_sub(2) else { return String::new() };
    let filled = (fraction.clamp(0.0, 1.0) * inner as f64) as usize;
    let head = if filled < inner { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(filled), " ".repeat(inner - filled - head.len()))
}

/// Returns the text, shortened in its middle to `width` columns.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let Some(rest) = width.checked_sub(1) else { return String::new() };
    let (head, tail) = (rest - rest / 2, rest / 2);
    let start = take_width(text.chars(), head);
    let end: Vec<char> = take_width(text.chars().rev(), tail);
    start.into_iter().chain(['…']).chain(end.into_iter().rev()).collect()
}

/// Returns the first characters that take at most `width` columns.
fn take_width(characters: impl Iterator<Item = char>, width: usize) -> Vec<char> {
    let mut left = width;
    let mut taken = Vec::new();
    for c in characters {
        let Some(rest) = left.checked_sub(c.width().unwrap_or_default()) else { break };
        left = rest;
        taken.push(c);
    }
    taken
}

/// Returns the first of several forms of a message that fits into `width` columns, or the last one shortened.
pub(super) fn first_fitting(forms: &[String], width: usize) -> String {
    let fitting = forms.iter().find(|form| form.width() <= width);
    fitting.cloned().unwrap_or_else(|| forms.last().map_or_else(String::new, |last| fit(last, width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let fetching = Row {
            label: "fetching 0123456789ab".to_owned(),
            fraction: Some(0.25),
            amount: "12.50 MiB/50.00 MiB".to_owned(),
            rate: Some("3.10 MiB/s".to_owned()),
            remaining: Some("12s".to_owned()),
        };
        let unknown = Row { label: "committing".to_owned(), amount: "1.00 KiB".to_owned(), ..Row::default() };
        let total = Row { label: "total".to_owned(), fraction: Some(1.0), ..fetching.clone() };
        vec![fetching, unknown, total]
    }

    #[test]
    fn rows_at_three_widths() {
        assert_eq!(
            format(&rows(), 109),
            [
                "fetching 0123456789ab   25%     12.50 MiB/50.00 MiB [========>                         ]    3.10 MiB/s    12s",
                "committing                                 1.00 KiB",
                "total                  100%     12.50 MiB/50.00 MiB [==================================]    3.10 MiB/s    12s",
            ]
        );
        assert_eq!(
            format(&rows(), 79),
            [
                "fetching 0123456789ab   25%     12.50 MiB/50.00 MiB [==>        ]    3.10 MiB/s",
                "committing                                 1.00 KiB",
                "total                  100%     12.50 MiB/50.00 MiB [===========]    3.10 MiB/s",
            ]
        );
        assert_eq!(format(&rows(), 29), ["fetching 0123456789ab   25%", "committing", "total                  100%"]);
    }

    #[test]
    fn no_row_is_wider_than_the_terminal() {
        let mut rows = rows();
        rows.push(Row {
            label: "exporting 日本語のとても長いファイル名.erofs".to_owned(), ..rows[0].clone()
        });
        for width in 0..200 {
            for row in format(&rows, width) {
                assert!(row.width() <= width, "{width}: {row:?}");
            }
        }
    }

    #[test]
    fn long_text_loses_its_middle() {
        assert_eq!(fit("0123456789", 10), "0123456789");
        assert_eq!(fit("0123456789", 5), "01…89");
        assert_eq!(fit("日本語", 5), "日…語");
        assert_eq!(fit("日本語", 0), "");
    }

    #[test]
    fn the_longest_form_that_fits_is_shown() {
        let forms = ["a long form".to_owned(), "short".to_owned()];
        assert_eq!(first_fitting(&forms, 11), "a long form");
        assert_eq!(first_fitting(&forms, 10), "short");
        assert_eq!(first_fitting(&forms, 3), "s…t");
    }
}
