//! Mounts the root of an image with FUSE, and reads a file of it. Works without root if fusermount3 is installed.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;
use std::sync::Arc;
use std::{error, fs};

use vmroot::fuse::Mount;
use vmroot::{Client, ClientOptions, MountOptions, Platform};

fn main() -> Result<(), Box<dyn error::Error>> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    let mountpoint = directory.join("mnt");
    fs::create_dir_all(&mountpoint)?;
    let mount = Mount::new(Arc::new(root), &mountpoint, &MountOptions::default())?;
    print!("{}", fs::read_to_string(mountpoint.join("home/demo/hello"))?);
    mount.unmount()?;
    mount.wait()?;
    Ok(())
}
