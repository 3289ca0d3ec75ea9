//! Writes a `root.idx` as an EROFS image or as metadata alone, and prints the seconds it took.
//!
//! Usage: `write_image image|lz4|zstd|meta ROOT.IDX LAYERS OUT`.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use vmroot_container_fs::ContainerFs;
use vmroot_erofs::{ErofsCompression, ErofsMetaOptions, ErofsOptions, write_erofs, write_erofs_meta};
// A program prints its result.
#[allow(clippy::print_stdout)] // It is a program.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [form, root_idx, layers, out] = arguments.as_slice() else {
        return Err("image|lz4|zstd|meta ROOT.IDX LAYERS OUT".into());
    };
    let root = ContainerFs::open_files(root_idx, &|diff_id| layers.join(format!("{}.contents", diff_id.hex())))?;
    let start = Instant::now();
    let file = File::create(out)?;
    match form.to_str() {
        Some("image") => drop(write_erofs(&root, &file, &ErofsOptions::default())?),
        Some("lz4") => drop(write_erofs(&root, &file, &compressed(ErofsCompression::LZ4))?),
        Some("zstd") => drop(write_erofs(&root, &file, &compressed(ErofsCompression::ZSTD))?),
        Some("meta") => drop(write_erofs_meta(&root, &file, &ErofsMetaOptions::default())?),
        _ => return Err("image, lz4, zstd or meta".into()),
    }
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}

fn compressed(compression: ErofsCompression) -> ErofsOptions<'static> {
    ErofsOptions { compression: Some(compression), ..ErofsOptions::default() }
}
