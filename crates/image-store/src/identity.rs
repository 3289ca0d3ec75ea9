//! Images by their ids.

use std::collections::BTreeSet;

use vmroot_model::Digest;

use crate::{Error, Result, Store};

impl Store {
    /// Returns the ids of all images, sorted.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub fn ids(&self) -> Result<Vec<Digest>> {
        let ids: BTreeSet<Digest> = self.images()?.iter().map(|record| *record.id()).collect();
        Ok(ids.into_iter().collect())
    }

    /// Finds the id of an image by the id or by a prefix of it, with or without `sha256:`.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if no image has this id or prefix, or if `term` has no digits.
    /// - [`Error::Ambiguous`], with the candidates, if several images have this prefix.
    /// - [`Error::Cache`] if the records cannot be listed or read.
    pub fn search(&self, term: &str) -> Result<Digest> {
        let prefix = term.strip_prefix("sha256:").unwrap_or(term);
        let mut fitting = self.ids()?;
        fitting.retain(|id| !prefix.is_empty() && id.hex().starts_with(prefix));
        match &fitting[..] {
            [] => Err(Error::NoSuchImage(term.to_owned())),
            [id] => Ok(*id),
            _ => {
                let candidates: Vec<_> = fitting.iter().map(Digest::to_string).collect();
                Err(Error::Ambiguous { name: term.to_owned(), candidates: candidates.join(", ") })
            }
        }
    }
}
