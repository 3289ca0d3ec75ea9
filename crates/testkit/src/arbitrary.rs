//! Proptest strategies: stacks of layers whose names collide often, and odd enough to find what nobody thought of.

mod attributes;
mod entry;
mod name;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::error::Error;
use crate::layer::{Dialect, Encoding, Layer, WHITEOUT_PREFIX, XattrForm};
use crate::model::Tree;
use crate::tar_builder::SparseForm;
use entry::Shot;

/// Most layers of a stack.
pub const LAYERS: usize = 6;
/// Most entries of a layer.
pub const ENTRIES: usize = 14;

/// Any layer, with or without a meaning.
pub fn layer() -> impl Strategy<Value = Layer> {
    vec(entry::entry(), 0..=ENTRIES).prop_map(|entries| aimed(vec![entries]).remove(0))
}

/// One to six layers, with or without a meaning.
pub fn any_stack() -> impl Strategy<Value = Vec<Layer>> {
    vec(vec(entry::entry(), 0..=ENTRIES), 1..=LAYERS).prop_map(aimed)
}

/// One to six layers that merge: entries with no meaning are taken out.
pub fn stack() -> impl Strategy<Value = Vec<Layer>> {
    any_stack().prop_map(without_errors)
}

/// Any way of writing a layer.
pub fn encoding() -> impl Strategy<Value = Encoding> {
    let dialect = proptest::sample::select(Dialect::ALL.to_vec());
    let sparse = proptest::sample::select(SparseForm::ALL.to_vec());
    let xattrs = proptest::sample::select(vec![XattrForm::Schily, XattrForm::Libarchive, XattrForm::Both]);
    (dialect, sparse, xattrs).prop_map(|(dialect, sparse, xattrs)| Encoding { dialect, sparse, xattrs })
}

/// Aims most hard links at names of their own and lower layers, and most whiteouts at names of lower layers.
fn aimed(layers: Vec<Vec<Shot>>) -> Vec<Layer> {
    let mut lower_names: Vec<Vec<u8>> = Vec::new();
    let aim = |layer: Vec<Shot>| {
        let own = layer.iter().filter(|shot| !is_marker(&shot.entry.name)).map(|shot| shot.entry.name.clone());
        let names: Vec<_> = lower_names.iter().cloned().chain(own).collect();
        let entries = layer.into_iter().map(|shot| shot.at(&lower_names, &names));
        let layer = Layer::new(entries.collect::<Vec<_>>());
        lower_names = names;
        layer
    };
    layers.into_iter().map(aim).collect()
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
