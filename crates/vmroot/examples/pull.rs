//! Pulls an image from a registry, and shows the progress.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::sync::Arc;

use vmroot::{Client, ClientOptions, Platform, ProgressMeter};

fn main() -> vmroot::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "alpine:3.20".to_owned());
    let mut options = ClientOptions::new("try/cache");
    options.registry.retries = 2;
    let client = Client::new(options)?;

    let meter = ProgressMeter::new(|progress| {
        println!("{} of {} bytes", progress.image_current, progress.image_total);
    });
    let image = client.with_progress(Arc::new(meter)).pull_for(&name, &Platform::linux("amd64")?)?;
    println!("{}", image.id());
    Ok(())
}
