//! The layers of an image as its config lists them (OCI image-spec, config.md, "rootfs").

use crate::{Digest, chain_ids};

/// The layers of an image, by their diff ids.
///
/// ```
/// use vmroot_model::{Digest, RootFs};
///
/// let mut root = RootFs::new();
/// assert_eq!(root.chain_id(), None);
/// root.append(Digest::of(b"the lowest layer"));
/// assert_eq!(root.chain_id(), Some(Digest::of(b"the lowest layer")));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootFs {
    diff_ids: Vec<Digest>,
}

impl RootFs {
    /// Creates a root without layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the root of these layers, the base first.
    pub fn of(diff_ids: impl Into<Vec<Digest>>) -> Self {
        Self { diff_ids: diff_ids.into() }
    }

    /// Adds a layer on top.
    pub fn append(&mut self, diff_id: Digest) {
        self.diff_ids.push(diff_id);
    }

    /// Returns the diff ids, the base first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Returns the chain id of all layers (OCI image-spec, config.md, "Layer ChainID"). `None` without layers.
    pub fn chain_id(&self) -> Option<Digest> {
        chain_ids(&self.diff_ids).last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_are_those_of_the_specification() {
        let layers = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let mut root = RootFs::new();
        let mut chain: Option<Digest> = None;
        for layer in layers {
            root.append(layer);
            chain = Some(chain.map_or(layer, |lower| Digest::of(format!("{lower} {layer}").as_bytes())));
            assert_eq!(root.chain_id(), chain);
        }
        assert_eq!(root, RootFs::of(layers));
    }

    #[test]
    fn a_clone_is_independent() {
        let parent = RootFs::of([Digest::of(b"a")]);
        let mut child = parent.clone();
        child.append(Digest::of(b"b"));
        assert_eq!(parent.diff_ids(), [Digest::of(b"a")]);
    }
}
