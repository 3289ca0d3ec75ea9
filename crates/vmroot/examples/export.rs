//! Writes the root of an image as a tar and as a directory.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;

use vmroot::export::{DirectoryOptions, TarOptions, export_directory, export_tar};
use vmroot::{Client, ClientOptions, Platform};

fn main() -> vmroot::Result<()> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    let report = export_tar(&root, &directory.join("root.tar"), &TarOptions::default())?;
    println!("root.tar: {} bytes", report.bytes);

    // Owners and devices are recorded in xattrs, so that this works without root.
    let options = DirectoryOptions { rootless: true, ..DirectoryOptions::default() };
    let report = export_directory(&root, &directory.join("root"), &options)?;
    for line in report.omissions.lines(10) {
        println!("{line}");
    }
    Ok(())
}
