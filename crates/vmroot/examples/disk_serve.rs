//! Serves the root of an image as a disk to NBD clients, until it is stopped from another thread.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;
use std::sync::Arc;
use std::{error, thread};

use vmroot::disk_serve::{Device, NbdServer};
use vmroot::virtiofs::LockWait;
use vmroot::{Client, ClientOptions, Platform};

fn main() -> Result<(), Box<dyn error::Error>> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    let device = Arc::new(Device::of_root(&root)?);
    let server = NbdServer::bind(device, &directory.join("disk.sock"), &LockWait::default())?;
    let stopper = server.stopper();
    println!("clients can connect to {}", server.socket().display());
    let served = thread::spawn(move || server.serve());
    // A program waits for its guests here.
    stopper.stop();
    served.join().expect("the server does not panic")?;
    Ok(())
}
