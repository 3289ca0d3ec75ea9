//! Exports a root to a directory and measures the time: `export_dir ROOT.IDX CONTENTS_DIR TARGET [rootless] [sync]`.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use vmroot_container_fs::ContainerFs;
use vmroot_export::{DirectoryOptions, export_directory};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [root, contents, target, flags @ ..] = &arguments[..] else {
        return Err("usage: export_dir ROOT.IDX CONTENTS_DIR TARGET [rootless] [sync]".into());
    };
    let has = |flag: &str| flags.iter().any(|given| given == Path::new(flag));
    let options = DirectoryOptions { rootless: has("rootless"), sync: has("sync"), ..DirectoryOptions::default() };

    let start = Instant::now();
    let fs = ContainerFs::open_files(root, &|digest| contents.join(format!("{}.contents", digest.hex())))?;
    let report = export_directory(&fs, target, &options)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} bytes in {:.2?}", report.bytes, start.elapsed())?;
    for omission in report.omissions.listed.iter().take(10) {
        writeln!(out, "refused: {omission}")?;
    }
    writeln!(out, "{} refused", report.omissions.total)?;
    Ok(())
}
