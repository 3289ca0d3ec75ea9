//! Lets vmroot and its rivals take turns, so that other activity of the machine affects all of them alike.

use std::{fs, path::Path, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use rustix::fs::sync;

use super::{
    lab::Lab,
    row::{Row, Target, Unit},
};

/// Does the work once in an empty directory, and returns the figure in the race's unit.
pub type Measurement = fn(&Lab, &Path) -> Result<f64>;

/// An operation of vmroot, and its rivals and limits.
pub struct Race {
    /// The unit of the figures.
    pub unit: Unit,
    /// Whether to repeat the measurement. Counts of bytes are the same each time.
    pub repeat: bool,
    /// Whether to keep the written files until the end of the race. ext4 searches for space among recently deleted
    /// files, so a turn that writes many files would pay for the deletion of the previous ones.
    pub keep: bool,
    /// The turn of vmroot.
    pub ours: Measurement,
    /// The comparisons. Each is one row of the table.
    pub comparisons: &'static [Comparison],
}

/// A rival or a limit.
pub struct Comparison {
    /// The name of the row for `--only`.
    pub key: &'static str,
    /// The title of the row in the table.
    pub title: &'static str,
    /// The target.
    pub target: Target,
    /// The turn of the rival, if there is one.
    pub rival: Option<Measurement>,
}

struct Contestant {
    name: &'static str,
    measure: Measurement,
    figures: Vec<f64>,
}

impl Race {
    /// Measures the rows that `wanted` selects. Returns them with medians.
    pub fn run(&self, lab: &Lab, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Row>> {
        let comparisons: Vec<_> = self.comparisons.iter().filter(|comparison| wanted(comparison.key)).collect();
        if comparisons.is_empty() {
            return Ok(Vec::new());
        }
        let ours = (!lab.rivals_only).then_some(("vmroot", self.ours));
        let rivals = comparisons.iter().filter_map(|comparison| Some((comparison.key, comparison.rival?)));
        let mut contestants: Vec<_> = ours
            .into_iter()
            .chain(rivals)
            .map(|(name, measure)| Contestant { name, measure, figures: Vec::new() })
            .collect();
        for turn in 1..=if self.repeat { lab.runs } else { 1 } {
            for contestant in &mut contestants {
                contestant.take_turn(lab, self, turn)?;
            }
        }
        empty(&lab.scratch())?;
        let result = |name: &str| Some(median(contestants.iter().find(|one| one.name == name)?.figures.clone()));
        let row = |comparison: &&Comparison| Row {
            key: comparison.key,
            title: comparison.title,
            unit: self.unit,
            ours: result("vmroot"),
            rival: result(comparison.key),
            target: comparison.target,
        };
        Ok(comparisons.iter().map(row).collect())
    }
}

impl Contestant {
    /// Takes one turn. Earlier writes are flushed first, because otherwise this turn would wait for them.
    fn take_turn(&mut self, lab: &Lab, race: &Race, turn: usize) -> Result<()> {
        let scratch = lab.scratch().join(format!("{}-{turn}", self.name));
        empty(&scratch)?;
        sync();
        let figure = (self.measure)(lab, &scratch).with_context(|| format!("turn {turn} of {}", self.name))?;
        eprintln!("  {} {turn}: {}", self.name, race.unit.figure(figure));
        self.figures.push(figure);
        if race.keep { Ok(()) } else { empty(&lab.scratch()) }
    }
}

/// Drops the kernel's caches, so that every later read comes from the disk.
///
/// A virtual machine returns the freed memory to its host within a moment, and getting it back takes time. The function
/// waits for that, so that all contestants pay this time and not only the slower ones.
pub fn drop_caches() -> Result<()> {
    const GIVEN_BACK: Duration = Duration::from_secs(3);
    sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the kernel's caches")?;
    sleep(GIVEN_BACK);
    Ok(())
}

/// Returns the middle value, or the mean of the two middle values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    Ok(fs::create_dir_all(directory)?)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
