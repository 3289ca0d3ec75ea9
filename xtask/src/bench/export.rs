//! Measures exports, and the disk usage of a cache.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{
    image,
    lab::Lab,
    race::{Comparison, Race},
    row::{Target, Unit},
};
use crate::process;

/// The time of an export to a directory.
pub const DIRECTORY: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: true,
    ours: export,
    comparisons: &[Comparison {
        key: "export-umoci",
        title: "export to a directory, against umoci unpack",
        target: Target::TimesFaster(3.0),
        rival: Some(|lab, scratch| {
            let mut umoci = Lab::umoci_unpack(&lab.layout()?, &scratch.join("bundle"));
            Ok(lab.measure(&mut umoci)?.wall.as_secs_f64())
        }),
    }],
};

/// The disk usage of a pulled image.
pub const DISK: Race = Race {
    unit: Unit::Bytes,
    repeat: false,
    keep: false,
    ours: |lab, _| index_blocks(&lab.pulled()?),
    comparisons: &[Comparison {
        key: "disk",
        title: "disk used by .idx + .contents + root.idx, against du of the untarred tree",
        target: Target::TimesRival(1.02),
        rival: Some(|lab, _| du(&lab.tree()?)),
    }],
};

fn export(lab: &Lab, scratch: &Path) -> Result<f64> {
    let mut export = lab.vmroot(&lab.pulled()?);
    export.args(["export", &lab.registry().reference(image::BENCH)]);
    export.arg(scratch.join("out")).args(["--format", "dir"]);
    Ok(lab.measure(&mut export)?.wall.as_secs_f64())
}

/// Returns the disk usage of all files in `layers/v1` and `roots/v1`, in bytes.
fn index_blocks(cache: &Path) -> Result<f64> {
    let mut blocks = 0;
    for directory in ["layers/v1", "roots/v1"] {
        let directory = cache.join(directory);
        for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))? {
            blocks += entry?.metadata()?.blocks();
        }
    }
    Ok((blocks * 512) as f64)
}

fn du(tree: &Path) -> Result<f64> {
    let printed = process::capture(Command::new("du").args(["--summarize", "--block-size=1"]).arg(tree))?;
    let bytes = printed.split_whitespace().next().context("du printed nothing")?;
    Ok(bytes.parse()?)
}
