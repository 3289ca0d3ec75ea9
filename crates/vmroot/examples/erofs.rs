//! Writes the root of an image as EROFS images: one file, and metadata over the contents files of the layers.

#![allow(clippy::print_stdout)] // for the reader of an example

use std::path::Path;

use vmroot::disk_image::{FileSystem, write_to_path};
use vmroot::erofs::{ErofsCompression, ErofsMetaOptions, ErofsOptions, export_erofs_meta};
use vmroot::{Client, ClientOptions, Platform};

fn main() -> vmroot::Result<()> {
    let directory = Path::new("try");
    let client = Client::new(ClientOptions::new(directory.join("cache")))?;
    let root = client.root(&client.pull_for("oci:testdata/demo:demo", &Platform::linux("amd64")?)?)?;

    // The file appears when it is complete.
    let options = ErofsOptions { compression: Some(ErofsCompression::LZ4), ..ErofsOptions::default() };
    let report = write_to_path(&root, directory.join("root.erofs"), &FileSystem::Erofs(options))?;
    println!("root.erofs: {} bytes", report.bytes);

    // The cache must keep the layers for as long as a guest uses the metadata.
    let report = export_erofs_meta(&root, &directory.join("meta.erofs"), &ErofsMetaOptions::default())?;
    for file in &report.files {
        println!("beside meta.erofs: {}", file.display());
    }
    Ok(())
}
