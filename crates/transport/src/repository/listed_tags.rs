//! The tags of a repository that gets many images.

use std::collections::HashSet;
use std::sync::OnceLock;

use vmroot_errors::with_causes;
use vmroot_model::Reference;
use vmroot_registry::Client;

/// The number of tags for which a page of the list is read. More pages could cost more requests than they save.
const TAGS_OF_PAGE: usize = 4;

/// The tags of a repository, listed once for many destinations in it. A tag that is not listed needs no request to learn
/// that it is absent.
#[derive(Debug)]
pub struct ListedTags {
    /// The number of tags that are about to be written.
    count: usize,
    /// `None` in the cell if the list failed, or has too many pages.
    tags: OnceLock<Option<HashSet<String>>>,
}

impl ListedTags {
    /// Creates the tags of a repository that gets `count` images. They are listed when the first is needed.
    pub fn new(count: usize) -> Self {
        Self { count, tags: OnceLock::new() }
    }

    /// Returns whether a tag is certainly absent: the registry lists the others, and not this one.
    ///
    /// A registry may list a tag too late, or not at all. Then the image is written again.
    pub(super) fn lacks(&self, client: &Client, reference: &Reference) -> bool {
        let Some(tag) = reference.tag() else { return false };
        let pages = self.count / TAGS_OF_PAGE;
        if pages == 0 {
            return false;
        }
        let tags = self.tags.get_or_init(|| match client.tags_within(reference, pages) {
            Ok(tags) => tags,
            Err(error) => {
                tracing::debug!(error = with_causes(&error), "cannot list the tags of the destination");
                None
            }
        });
        tags.as_ref().is_some_and(|tags| !tags.contains(tag))
    }
}
