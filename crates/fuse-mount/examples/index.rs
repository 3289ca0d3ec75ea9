//! Builds a `root.idx` and the contents files of layers, lowest first, in a directory. For measurements.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::{Digest, chain_ids};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let Some(directory) = arguments.next() else {
        return Err("usage: index DIRECTORY LAYER.TAR...".into());
    };
    let mut layers = Vec::new();
    for tar in arguments {
        let tar = BufReader::with_capacity(1 << 20, File::open(tar)?);
        layers.push(Index::open(&build(tar, &directory, &BuildOptions::default())?.publish()?)?);
    }
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| *layer.identity()).collect();
    let chain_id = *chain_ids(&diff_ids).last().ok_or("no layers")?;
    let root = File::create(directory.join("root.idx"))?;
    merge(None, &layers.iter().collect::<Vec<_>>(), &chain_id, root)?;
    Ok(())
}
