//! What two listings do not share.

use std::collections::BTreeSet;
use std::fmt;

use super::{Listing, Row, quoted};

/// The paths at which two listings differ.
#[derive(Debug, Clone)]
pub struct Difference {
    lines: Vec<String>,
    paths: usize,
}

/// Differing paths that are printed.
const SHOWN: usize = 40;

impl Listing {
    /// What is to change for `actual` to be this listing; `None` if nothing.
    pub fn difference(&self, actual: &Self) -> Option<Difference> {
        let paths: BTreeSet<_> = self.rows.keys().chain(actual.rows.keys()).collect();
        let differing: Vec<_> =
            paths.into_iter().filter(|path| self.rows.get(*path) != actual.rows.get(*path)).collect();
        let side = |sign: char, path: &[u8], row: Option<&Row>| row.map(|row| format!("{sign} {} {row}", quoted(path)));
        let lines = differing.iter().take(SHOWN).flat_map(|path| {
            [side('-', path, self.rows.get(*path)), side('+', path, actual.rows.get(*path))].into_iter().flatten()
        });
        let lines: Vec<_> = lines.collect();
        (!differing.is_empty()).then_some(Difference { lines, paths: differing.len() })
    }

    /// Panics with the difference unless `actual` is this listing.
    ///
    /// # Panics
    /// When the listings differ.
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
        if self.paths > SHOWN { writeln!(f, "... and {} more", self.paths - SHOWN) } else { Ok(()) }
    }
}
