//! Proptest strategies: stacks of layers with many name collisions and unusual entries.

mod attributes;
mod entry;
mod name;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::error::Error;
use crate::layer::{Dialect, Encoding, Layer, WHITEOUT_PREFIX, XattrForm};
use crate::model::Tree;
use crate::tar_builder::SparseForm;
use entry::TargetedEntry;

/// The maximum number of layers of a stack.
pub const LAYERS: usize = 6;
/// The maximum number of entries of a layer.
pub const ENTRIES: usize = 14;

/// Generates any layer, which may be invalid.
pub fn layer() -> impl Strategy<Value = Layer> {
    vec(entry::entry(), 0..=ENTRIES).prop_map(|entries| target_entries(vec![entries]).remove(0))
}

/// Generates one to six layers, which may be invalid.
pub fn any_stack() -> impl Strategy<Value = Vec<Layer>> {
    vec(vec(entry::entry(), 0..=ENTRIES), 1..=LAYERS).prop_map(target_entries)
}

/// Generates one to six layers that can be merged: invalid entries are removed.
pub fn stack() -> impl Strategy<Value = Vec<Layer>> {
    any_stack().prop_map(without_errors)
}

/// Generates any encoding of a layer.
pub fn encoding() -> impl Strategy<Value = Encoding> {
    let dialect = proptest::sample::select(Dialect::ALL.to_vec());
    let sparse = proptest::sample::select(SparseForm::ALL.to_vec());
    let xattrs = proptest::sample::select(vec![XattrForm::Schily, XattrForm::Libarchive, XattrForm::Both]);
    (dialect, sparse, xattrs).prop_map(|(dialect, sparse, xattrs)| Encoding { dialect, sparse, xattrs })
}

/// Points most hard links to names of their own and lower layers, and most whiteouts to names of lower layers.
fn target_entries(layers: Vec<Vec<TargetedEntry>>) -> Vec<Layer> {
    let mut lower_names: Vec<Vec<u8>> = Vec::new();
    let resolve_layer = |layer: Vec<TargetedEntry>| {
        let own = layer
            .iter()
            .filter(|targeted| !is_marker(&targeted.entry.name))
            .map(|targeted| targeted.entry.name.clone());
        let names: Vec<_> = lower_names.iter().cloned().chain(own).collect();
        let entries = layer.into_iter().map(|targeted| targeted.resolve(&lower_names, &names));
        let layer = Layer::new(entries.collect::<Vec<_>>());
        lower_names = names;
        layer
    };
    layers.into_iter().map(resolve_layer).collect()
}

fn is_marker(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT_PREFIX))
}

fn without_errors(mut layers: Vec<Layer>) -> Vec<Layer> {
    let mut tree = Tree::new();
    for layer in &mut layers {
        tree = loop {
            let mut next = tree.clone();
            match next.apply(layer) {
                Ok(()) => break next,
                Err(Error::Entry { index, .. }) => drop(layer.entries.remove(index)),
                Err(other) => unreachable!("the model knows errors of entries only: {other}"),
            }
        };
    }
    layers
}
