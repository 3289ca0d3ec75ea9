//! Writes a `root.idx` as an EROFS image, or its metadata alone, and prints the seconds that it took:
//! `erofs image|meta ROOT.IDX LAYERS OUT`.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use vmroot_container_fs::ContainerFs;
use vmroot_disk_image::{ErofsOptions, write_erofs, write_erofs_meta};

#[allow(clippy::print_stdout)] // It is a program.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [form, root_idx, layers, out] = arguments.as_slice() else {
        return Err("image|meta ROOT.IDX LAYERS OUT".into());
    };
    let root = ContainerFs::open(root_idx, &|diff_id| layers.join(format!("{}.contents", diff_id.hex())))?;
    let start = Instant::now();
    let file = File::create(out)?;
    match form.to_str() {
        Some("image") => drop(write_erofs(&root, &file, &ErofsOptions::default())?),
        Some("meta") => drop(write_erofs_meta(&root, &file)?),
        _ => return Err("image or meta".into()),
    }
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}
