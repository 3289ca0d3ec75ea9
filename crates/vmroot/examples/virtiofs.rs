//! Serves the root of an image to a VMM over virtio-fs, until it is stopped from another thread.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;
use std::sync::Arc;
use std::{error, thread};

use vmroot::virtiofs::{VirtioFs, VirtioFsOptions};
use vmroot::{Client, ClientOptions, Platform};

fn main() -> Result<(), Box<dyn error::Error>> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    let device = VirtioFs::bind(Arc::new(root), &directory.join("fs.sock"), &VirtioFsOptions::default())?;
    let stopper = device.stopper();
    println!("a VMM can connect to {}", device.socket().display());
    let served = thread::spawn(move || device.serve());
    // A program waits for its VMM here.
    stopper.stop();
    served.join().expect("the device does not panic")?;
    Ok(())
}
