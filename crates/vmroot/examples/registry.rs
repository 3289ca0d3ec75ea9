//! Pulls an image from a registry, and shows the progress.

use std::path::Path;
use std::sync::Arc;

use vmroot::{Client, ClientOptions, Platform, ProgressMeter};

fn pull(name: &str, directory: &Path) -> vmroot::Result<()> {
    let mut options = ClientOptions::new(directory.join("cache"));
    options.registry.retries = 2;
    let client = Client::new(options)?;

    let meter = ProgressMeter::new(|progress| {
        println!("{} of {} bytes", progress.image_current, progress.image_total);
    });
    let image = client.with_progress(Arc::new(meter)).pull_for(name, &Platform::linux("amd64")?)?;
    println!("{}", image.id());
    Ok(())
}

fn main() -> vmroot::Result<()> {
    pull("alpine:3.20", Path::new("try"))
}
