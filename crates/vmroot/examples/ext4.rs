//! Writes the root of an image as an ext4 file system with 64 MiB of free space.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;

use vmroot::ext4::{Ext4Options, export_ext4};
use vmroot::{Client, ClientOptions, Platform};

fn main() -> vmroot::Result<()> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    let options = Ext4Options { free: 64 << 20, journal: true, label: "root", ..Ext4Options::default() };
    let report = export_ext4(&root, &directory.join("root.ext4"), &options)?;
    println!("root.ext4: {} bytes", report.bytes);
    Ok(())
}
