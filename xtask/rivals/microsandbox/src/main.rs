//! Pulls an image with `microsandbox-image`: `rival-microsandbox CACHE REFERENCE`. Uses plain HTTP for the registry.

use std::{env, error::Error, path::Path};

use microsandbox_image::{GlobalCache, Platform, PullOptions, Reference, Registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(cache), Some(reference), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: rival-microsandbox CACHE REFERENCE".into());
    };
    let reference: Reference = reference.parse()?;
    let registry = Registry::builder(Platform::host_linux(), GlobalCache::new(Path::new(&cache))?)
        .add_insecure_registries(vec![reference.registry().to_owned()])
        .build()?;
    let pulled = registry.pull(&reference, &PullOptions::default()).await?;
    println!("{} layers", pulled.layer_diff_ids.len());
    Ok(())
}
