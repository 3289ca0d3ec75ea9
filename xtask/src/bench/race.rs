//! vmroot and its rivals take turns, so that what else the machine does meets all of them alike.

use std::{fs, path::Path, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use rustix::fs::sync;

use super::{
    lab::Lab,
    row::{Row, Target, Unit},
};

/// Does the work once, in an empty directory, and returns its figure in the race's unit.
pub type Once = fn(&Lab, &Path) -> Result<f64>;

/// One thing that vmroot does, and what its figure is held against.
pub struct Race {
    /// What the figures are counted in.
    pub unit: Unit,
    /// Whether runs differ; a count of bytes does not.
    pub repeat: bool,
    /// Whether what turns write stays until the end of the race. ext4 looks for room among what was deleted lately, so a
    /// turn that writes many files pays for the deletion of the one before.
    pub keep: bool,
    /// vmroot's turn.
    pub ours: Once,
    /// One row of the table each.
    pub against: &'static [Against],
}

/// A rival or a limit.
pub struct Against {
    /// The name that `--only` takes.
    pub key: &'static str,
    /// What the table says.
    pub title: &'static str,
    /// What must be reached.
    pub target: Target,
    /// The rival's turn, where there is a rival.
    pub rival: Option<Once>,
}

struct Contestant {
    name: &'static str,
    once: Once,
    figures: Vec<f64>,
}

impl Race {
    /// Runs the rows that `wanted` names, and returns them with medians.
    pub fn run(&self, lab: &Lab, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Row>> {
        let against: Vec<_> = self.against.iter().filter(|against| wanted(against.key)).collect();
        if against.is_empty() {
            return Ok(Vec::new());
        }
        let ours = (!lab.rivals_only).then_some(("vmroot", self.ours));
        let rivals = against.iter().filter_map(|against| Some((against.key, against.rival?)));
        let mut contestants: Vec<_> =
            ours.into_iter().chain(rivals).map(|(name, once)| Contestant { name, once, figures: Vec::new() }).collect();
        for turn in 1..=if self.repeat { lab.runs } else { 1 } {
            for contestant in &mut contestants {
                contestant.take_turn(lab, self, turn)?;
            }
        }
        empty(&lab.scratch())?;
        let result = |name: &str| Some(median(contestants.iter().find(|one| one.name == name)?.figures.clone()));
        let row = |against: &&Against| Row {
            key: against.key,
            title: against.title,
            unit: self.unit,
            ours: result("vmroot"),
            rival: result(against.key),
            target: against.target,
        };
        Ok(against.iter().map(row).collect())
    }
}

impl Contestant {
    /// Dirty pages of the one before are written first, or this one would wait for them.
    fn take_turn(&mut self, lab: &Lab, race: &Race, turn: usize) -> Result<()> {
        let scratch = lab.scratch().join(format!("{}-{turn}", self.name));
        empty(&scratch)?;
        sync();
        let figure = (self.once)(lab, &scratch).with_context(|| format!("turn {turn} of {}", self.name))?;
        eprintln!("  {} {turn}: {}", self.name, race.unit.figure(figure));
        self.figures.push(figure);
        if race.keep { Ok(()) } else { empty(&lab.scratch()) }
    }
}

/// Makes every later read come from the disk.
///
/// A virtual machine gives the memory that this frees back to its host within a moment, and pays for having it again.
/// Both sides of a race are to pay, not only whoever is slower to begin.
pub fn drop_caches() -> Result<()> {
    const GIVEN_BACK: Duration = Duration::from_secs(3);
    sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the kernel's caches")?;
    sleep(GIVEN_BACK);
    Ok(())
}

/// The middle value, or the mean of the two in the middle.
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
