//! Tars made to harm, and odd ones that only look so: each with what a reader must make of it.

mod header;
mod name;
mod pax;
mod sparse;

use std::fmt::Display;

use crate::layer::{Entry, Layer};
use crate::listing::Listing;
use crate::model::Tree;

/// What a reader must make of a tar.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// An error.
    Refused,
    /// The same as this layer.
    Same(Layer),
    /// An error or any layer: programs disagree. No panic, no memory sized by what the tar says.
    Survived,
}

/// A tar and its verdict.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is wrong or odd, in a few words.
    pub name: &'static str,
    /// The stream, uncompressed.
    pub tar: Vec<u8>,
    /// What a reader must make of it.
    pub verdict: Verdict,
}

impl Case {
    fn refused(name: &'static str, tar: Vec<u8>) -> Self {
        Self { name, tar, verdict: Verdict::Refused }
    }

    fn same(name: &'static str, tar: Vec<u8>, layer: impl IntoIterator<Item = Entry>) -> Self {
        Self { name, tar, verdict: Verdict::Same(Layer::new(layer)) }
    }

    /// What is wrong with a reader that made this of the tar: its error, or the listing of what it read.
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

/// All cases.
pub fn cases() -> Vec<Case> {
    [header::cases(), pax::cases(), sparse::cases(), name::cases()].concat()
}
