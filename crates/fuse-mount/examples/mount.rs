//! Mounts a `root.idx` with the `<hex>.contents` files of a directory until it is unmounted. For measurements.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_container_fs::ContainerFs;
use vmroot_fuse_mount::{Mount, MountOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(index), Some(contents), Some(mountpoint)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: mount ROOT.IDX CONTENTS_DIRECTORY MOUNTPOINT".into());
    };
    let root = ContainerFs::open_files(&index, &|diff_id| contents.join(format!("{}.contents", diff_id.hex())))?;
    Mount::new(Arc::new(root), &mountpoint, &MountOptions::default())?.wait()?;
    Ok(())
}
