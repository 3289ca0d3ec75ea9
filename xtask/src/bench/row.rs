//! A row of the table: the figures of vmroot and of the rival, and the target for their ratio.

use std::fmt;

/// The unit of a row's figures.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Bytes.
    Bytes,
}

/// The target of a row.
#[derive(Clone, Copy)]
pub enum Target {
    /// Rival ÷ ours is at least this.
    TimesFaster(f64),
    /// Ours ÷ rival is at most this.
    TimesRival(f64),
    /// Ours is less than this, in the row's unit.
    Under(f64),
    /// Ours - rival is less than `by`, in the row's unit. If `if_judged` returns false, the figures are only reported.
    BeyondRival {
        /// The limit.
        by: f64,
        /// Returns whether the limit applies to this machine.
        if_judged: fn() -> bool,
    },
}

/// A row of the table.
pub struct Row {
    /// The name for `--only`.
    pub key: &'static str,
    /// The title.
    pub title: &'static str,
    /// The unit of the figures.
    pub unit: Unit,
    /// The figure of vmroot; `None` if only rivals are measured.
    pub ours: Option<f64>,
    /// The figure of the rival, if there is one.
    pub rival: Option<f64>,
    /// The target.
    pub target: Target,
}

impl Row {
    /// Returns the figure for the target: a ratio, or the used share of a limit.
    fn ratio(&self) -> Option<f64> {
        match self.target {
            Target::TimesFaster(_) => Some(self.rival? / self.ours?),
            Target::TimesRival(_) => Some(self.ours? / self.rival?),
            Target::Under(limit) => Some(self.ours? / limit),
            Target::BeyondRival { by, .. } => Some((self.ours? - self.rival?) / by),
        }
    }

    fn reached(&self) -> Option<bool> {
        let ratio = self.ratio()?;
        Some(match self.target {
            Target::TimesFaster(least) => ratio >= least,
            Target::TimesRival(most) => ratio <= most,
            Target::Under(_) => ratio < 1.0,
            Target::BeyondRival { if_judged, .. } => {
                if !if_judged() {
                    return None;
                }
                ratio < 1.0
            }
        })
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::TimesFaster(least) => format!(">= {least:.2} x as fast"),
            Target::TimesRival(most) => format!("<= {most:.2} x"),
            Target::Under(limit) => format!("under {}", self.unit.figure(limit)),
            Target::BeyondRival { by, if_judged } => {
                let reported = if if_judged() { "" } else { ", only reported here" };
                format!("under {} more{reported}", self.unit.figure(by))
            }
        }
    }
}

/// The whole table, which can be printed.
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells: Vec<[String; 7]> = self.0.iter().map(cells).collect();
        let head = ["row", "what", "vmroot", "rival", "ratio", "must reach", ""].map(str::to_owned);
        let lines: Vec<_> = [head].into_iter().chain(cells).collect();
        let widths: [usize; 7] = std::array::from_fn(|column| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
        });
        for line in &lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(widths) {
                text += &format!("{cell:width$}  ");
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 7] {
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| row.unit.figure(value));
    [
        row.key.to_owned(),
        row.title.to_owned(),
        figure(row.ours),
        figure(row.rival),
        row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        row.target_text(),
        row.reached().map_or("", |reached| if reached { "ok" } else { "MISSED" }).to_owned(),
    ]
}

impl Unit {
    /// Formats a number with its unit.
    pub fn figure(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.1 => format!("{:.2} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, rival: Option<f64>, target: Target) -> Row {
        Row { key: "key", title: "title", unit: Unit::Seconds, ours: Some(ours), rival, target }
    }

    #[test]
    fn a_target_is_met_at_its_limit() {
        assert_eq!(row(1.0, Some(7.0), Target::TimesFaster(7.0)).reached(), Some(true));
        assert_eq!(row(1.01, Some(7.0), Target::TimesFaster(7.0)).reached(), Some(false));
        assert_eq!(row(1.4, Some(1.0), Target::TimesRival(1.4)).reached(), Some(true));
        assert_eq!(row(1.5, Some(1.0), Target::TimesRival(1.4)).reached(), Some(false));
        assert_eq!(row(0.004, None, Target::Under(0.005)).reached(), Some(true));
        assert_eq!(row(0.005, None, Target::Under(0.005)).reached(), Some(false));
    }

    #[test]
    fn a_difference_is_judged_only_if_requested() {
        let beyond = |if_judged| row(1.2, Some(1.1), Target::BeyondRival { by: 0.15, if_judged });
        assert_eq!(beyond(|| true).reached(), Some(true));
        assert_eq!(beyond(|| false).reached(), None);
        assert_eq!(beyond(|| false).target_text(), "under 0.15 s more, only reported here");
        assert_eq!(row(1.2, Some(1.0), Target::BeyondRival { by: 0.15, if_judged: || true }).reached(), Some(false));
    }

    #[test]
    fn unmeasured_rows_are_not_judged() {
        assert_eq!(Row { ours: None, ..row(1.0, Some(1.0), Target::TimesFaster(1.0)) }.reached(), None);
        assert_eq!(row(1.0, None, Target::TimesFaster(1.0)).reached(), None);
    }

    #[test]
    fn the_table_marks_missed_targets() {
        let table = Table(vec![row(2.0, Some(3.0), Target::TimesFaster(7.0))]).to_string();
        let line = table.lines().last().unwrap_or_default();
        assert!(line.starts_with("key") && line.contains("1.50") && line.ends_with("MISSED"), "{line}");
    }
}
