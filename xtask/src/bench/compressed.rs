//! EROFS images with files compressed by LZ4.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use super::{
    image,
    lab::Lab,
    race::{Against, Race},
    row::{Target, Unit},
};

/// Making one.
pub const TIME: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: export,
    against: &[Against {
        key: "erofs-lz4-time",
        title: "export as EROFS with lz4, against mkfs.erofs -zlz4hc on the untarred tree",
        target: Target::TimesFaster(2.0),
        rival: Some(mkfs_erofs),
    }],
};

/// Its length.
pub const SIZE: Race = Race {
    unit: Unit::Bytes,
    repeat: false,
    keep: false,
    ours: |lab, scratch| export(lab, scratch).and_then(|_| length(scratch)),
    against: &[Against {
        key: "erofs-lz4-size",
        title: "length of an EROFS image with lz4, against that of mkfs.erofs -zlz4hc",
        target: Target::TimesRival(1.05),
        rival: Some(|lab, scratch| mkfs_erofs(lab, scratch).and_then(|_| length(scratch))),
    }],
};

fn export(lab: &Lab, scratch: &Path) -> Result<f64> {
    let mut export = lab.vmroot(&lab.pulled()?);
    export.args(["export", &lab.registry().reference(image::BENCH)]).arg(scratch.join("out"));
    export.args(["--format", "erofs", "--compress", "lz4"]);
    Ok(lab.measure(&mut export)?.wall.as_secs_f64())
}

fn mkfs_erofs(lab: &Lab, scratch: &Path) -> Result<f64> {
    let tree = lab.tree()?;
    let mut mkfs = Command::new("mkfs.erofs");
    mkfs.args(["--quiet", "-zlz4hc"]).arg(scratch.join("out")).arg(tree);
    Ok(lab.measure(&mut mkfs)?.wall.as_secs_f64())
}

fn length(scratch: &Path) -> Result<f64> {
    Ok(fs::metadata(scratch.join("out"))?.len() as f64)
}
