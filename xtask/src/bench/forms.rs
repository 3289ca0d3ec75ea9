//! Measures building file system images, and using them through the kernel's mount.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use super::{
    image,
    lab::Lab,
    mount::{cold_read, cold_walk},
    mounted::Mounted,
    race::{Comparison, Race},
    row::{Target, Unit},
};

/// The time of building EROFS metadata over the layers' contents.
pub const EROFS_META: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| export(lab, scratch, "erofs-meta"),
    comparisons: &[Comparison {
        key: "erofs-meta",
        title: "export as EROFS metadata over the layers' contents",
        target: Target::Under(0.030),
        rival: None,
    }],
};

/// The time of the hash tree over EROFS metadata and contents whose digests are kept, in addition to the metadata. The
/// first export of the image, which keeps them, is not measured.
pub const HASH_TREE: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| {
        let tree = ["--verity", "append", "--force"];
        export_with(lab, scratch, "erofs-meta", &tree)?;
        export_with(lab, scratch, "erofs-meta", &tree)
    },
    comparisons: &[Comparison {
        key: "hash-tree",
        title: "hash tree over the layers' contents on a shared base, beyond the export of the metadata",
        target: Target::BeyondRival { by: 0.020, if_judged: || true },
        rival: Some(|lab, scratch| export(lab, scratch, "erofs-meta")),
    }],
};

/// The time of building an EROFS image.
pub const EROFS: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| export(lab, scratch, "erofs"),
    comparisons: &[Comparison {
        key: "erofs-time",
        title: "export as an EROFS image, against mkfs.erofs on the untarred tree",
        target: Target::TimesFaster(2.0),
        rival: Some(mkfs_erofs),
    }],
};

/// The size of an EROFS image.
pub const EROFS_SIZE: Race = Race {
    unit: Unit::Bytes,
    repeat: false,
    keep: false,
    ours: |lab, scratch| {
        export(lab, scratch, "erofs")?;
        length(scratch)
    },
    comparisons: &[Comparison {
        key: "erofs-size",
        title: "length of an EROFS image, against that of mkfs.erofs",
        target: Target::TimesRival(1.0),
        rival: Some(|lab, scratch| {
            mkfs_erofs(lab, scratch)?;
            length(scratch)
        }),
    }],
};

/// The time of building an EROFS image with LZ4.
pub const EROFS_LZ4: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| export_with(lab, scratch, "erofs", &["--compress", "lz4"]),
    comparisons: &[Comparison {
        key: "erofs-lz4-time",
        title: "export as EROFS with lz4, against mkfs.erofs -zlz4hc on the untarred tree",
        target: Target::TimesFaster(2.0),
        rival: Some(|lab, scratch| mkfs_erofs_with(lab, scratch, &["-zlz4hc"])),
    }],
};

/// The size of an EROFS image with LZ4.
pub const EROFS_LZ4_SIZE: Race = Race {
    unit: Unit::Bytes,
    repeat: false,
    keep: false,
    ours: |lab, scratch| {
        export_with(lab, scratch, "erofs", &["--compress", "lz4"])?;
        length(scratch)
    },
    comparisons: &[Comparison {
        key: "erofs-lz4-size",
        title: "length of an EROFS image with lz4, against that of mkfs.erofs -zlz4hc",
        target: Target::TimesRival(1.05),
        rival: Some(|lab, scratch| {
            mkfs_erofs_with(lab, scratch, &["-zlz4hc"])?;
            length(scratch)
        }),
    }],
};

/// The time of building an ext4 image of minimal size. The rival's image has the same size.
pub const EXT4: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| export(lab, scratch, "ext4"),
    comparisons: &[Comparison {
        key: "ext4-time",
        title: "export as ext4, against mke2fs -d on the untarred tree",
        target: Target::TimesFaster(2.0),
        rival: Some(mke2fs),
    }],
};

/// The time of listing all entries with their attributes through the kernel.
pub const WALK: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| cold_walk(&Mounted::by_kernel(lab, scratch)?),
    comparisons: &[Comparison {
        key: "kernel-walk",
        title: "cold walk with stat of mount --driver erofs, against an image of mkfs.erofs",
        target: Target::TimesRival(1.1),
        rival: Some(|lab, scratch| cold_walk(&Mounted::erofs(lab, scratch)?)),
    }],
};

/// The time of reading all files through the kernel.
pub const READ: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, scratch| cold_read(&Mounted::by_kernel(lab, scratch)?),
    comparisons: &[Comparison {
        key: "kernel-read",
        title: "cold read of every byte of mount --driver erofs, against an image of mkfs.erofs",
        target: Target::TimesRival(1.1),
        rival: Some(|lab, scratch| cold_read(&Mounted::erofs(lab, scratch)?)),
    }],
};

fn export(lab: &Lab, scratch: &Path, format: &str) -> Result<f64> {
    export_with(lab, scratch, format, &[])
}

fn export_with(lab: &Lab, scratch: &Path, format: &str, options: &[&str]) -> Result<f64> {
    let mut export = lab.vmroot(&lab.pulled()?);
    export.args(["export", &lab.registry().reference(image::BENCH)]);
    export.arg(scratch.join("out")).args(["--format", format]).args(options);
    Ok(lab.measure(&mut export)?.wall.as_secs_f64())
}

fn mkfs_erofs(lab: &Lab, scratch: &Path) -> Result<f64> {
    mkfs_erofs_with(lab, scratch, &[])
}

fn mkfs_erofs_with(lab: &Lab, scratch: &Path, options: &[&str]) -> Result<f64> {
    let tree = lab.tree()?;
    let mut mkfs = Command::new("mkfs.erofs");
    mkfs.arg("--quiet").args(options).arg(scratch.join("out")).arg(tree);
    Ok(lab.measure(&mut mkfs)?.wall.as_secs_f64())
}

fn mke2fs(lab: &Lab, scratch: &Path) -> Result<f64> {
    let tree = lab.tree()?;
    let mut mke2fs = Command::new("/sbin/mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]).arg(tree);
    mke2fs.arg(scratch.join("out")).arg("1G");
    Ok(lab.measure(&mut mke2fs)?.wall.as_secs_f64())
}

fn length(scratch: &Path) -> Result<f64> {
    Ok(fs::metadata(scratch.join("out"))?.len() as f64)
}
