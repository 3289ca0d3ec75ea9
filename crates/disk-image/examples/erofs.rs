//! Writes a `root.idx` as an EROFS image and says how long it took: `erofs ROOT.IDX LAYERS OUT`.

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use vmroot_container_fs::ContainerFs;
use vmroot_disk_image::{ErofsOptions, write_erofs};

#[allow(clippy::print_stdout)] // It is a program.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [root_idx, layers, out] = arguments.as_slice() else { return Err("ROOT.IDX LAYERS OUT".into()) };
    let root = ContainerFs::open(root_idx, &|diff_id| layers.join(format!("{}.contents", diff_id.hex())))?;
    let start = Instant::now();
    let report = write_erofs(&root, &File::create(out)?, &ErofsOptions::default())?;
    println!("{report:?} in {:?}", start.elapsed());
    Ok(())
}
