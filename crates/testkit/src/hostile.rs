//! Malicious tars, and unusual but harmless ones, each with the expected result of reading it.

mod header;
mod name;
mod pax;
mod sparse;

use std::fmt::Display;

use crate::layer::{Entry, Layer};
use crate::listing::Listing;
use crate::model::Tree;

/// The expected result of reading a tar.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// An error.
    Refused,
    /// This layer.
    Same(Layer),
    /// An error or any layer, because programs disagree. The reader must not panic, nor allocate memory by a size in
    /// the tar.
    Survived,
}

/// A tar and its expected result.
#[derive(Debug, Clone)]
pub struct Case {
    /// A short description of the fault or oddity.
    pub name: &'static str,
    /// The uncompressed tar.
    pub tar: Vec<u8>,
    /// The expected result.
    pub verdict: Verdict,
}

impl Case {
    fn refused(name: &'static str, tar: Vec<u8>) -> Self {
        Self { name, tar, verdict: Verdict::Refused }
    }

    fn same(name: &'static str, tar: Vec<u8>, layer: impl IntoIterator<Item = Entry>) -> Self {
        Self { name, tar, verdict: Verdict::Same(Layer::new(layer)) }
    }

    /// Returns a description of a wrong result, given a reader's error or the listing of the layer that it read.
    pub fn complaint<E: Display>(&self, read: &Result<Listing, E>) -> Option<String> {
        let complaint = match (&self.verdict, read) {
            (Verdict::Survived, _) | (Verdict::Refused, Err(_)) => return None,
            (Verdict::Refused, Ok(_)) => "is not refused".into(),
            (Verdict::Same(_), Err(error)) => format!("is refused: {error}"),
            (Verdict::Same(layer), Ok(found)) => match Tree::of_layers([layer]) {
                Ok(tree) => Listing::of_tree(&tree).difference(found)?.to_string(),
                Err(error) => format!("has no meaning to the model: {error}"),
            },
        };
        Some(format!("{}: {complaint}", self.name))
    }

    fn survived(name: &'static str, tar: Vec<u8>) -> Self {
        Self { name, tar, verdict: Verdict::Survived }
    }
}

/// Returns all cases.
pub fn cases() -> Vec<Case> {
    [header::cases(), pax::cases(), sparse::cases(), name::cases()].concat()
}
