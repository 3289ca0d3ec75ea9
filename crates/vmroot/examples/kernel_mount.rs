//! Mounts the root of an image with the kernel's EROFS, and reads a file of it. Needs root and Linux 6.12.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;
use std::{error, fs};

use vmroot::kernel_mount::mount_erofs;
use vmroot::{Client, ClientOptions, MountOptions, Platform};

fn main() -> Result<(), Box<dyn error::Error>> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    let mountpoint = directory.join("mnt");
    fs::create_dir_all(&mountpoint)?;
    // The metadata is in an unnamed file of the cache's directory for as long as the mount exists.
    let mounted = mount_erofs(&root, client.cache_dir(), &mountpoint, &MountOptions::default())?;
    print!("{}", fs::read_to_string(mountpoint.join("home/demo/hello"))?);
    mounted.unmount()?;
    Ok(())
}
