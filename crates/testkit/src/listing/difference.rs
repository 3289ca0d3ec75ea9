//! Differences between two listings.

use std::collections::BTreeSet;
use std::fmt;

use super::{Listing, Row, quoted};

/// The paths at which two listings differ.
#[derive(Debug, Clone)]
pub struct Difference {
    lines: Vec<String>,
    paths: usize,
}

/// The maximum number of paths that are printed.
const MAX_PRINTED: usize = 40;

impl Listing {
    /// Returns the paths at which `actual` differs from this listing; `None` if there are none.
    pub fn difference(&self, actual: &Self) -> Option<Difference> {
        let paths: BTreeSet<_> = self.rows.keys().chain(actual.rows.keys()).collect();
        let differing: Vec<_> =
            paths.into_iter().filter(|path| self.rows.get(*path) != actual.rows.get(*path)).collect();
        let side = |sign: char, path: &[u8], row: Option<&Row>| row.map(|row| format!("{sign} {} {row}", quoted(path)));
        let lines = differing.iter().take(MAX_PRINTED).flat_map(|path| {
            [side('-', path, self.rows.get(*path)), side('+', path, actual.rows.get(*path))].into_iter().flatten()
        });
        let lines: Vec<_> = lines.collect();
        (!differing.is_empty()).then_some(Difference { lines, paths: differing.len() })
    }

    /// Asserts that `actual` equals this listing.
    ///
    /// # Panics
    /// If the listings differ. The message has the difference.
    #[track_caller]
    pub fn assert_same(&self, actual: &Self) {
        if let Some(difference) = self.difference(actual) {
            panic!("{difference}");
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} paths differ (- expected, + found)", self.paths)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        if self.paths > MAX_PRINTED { writeln!(f, "... and {} more", self.paths - MAX_PRINTED) } else { Ok(()) }
    }
}
