//! Measures a cache with 10,000 images: in `image-store`'s example `store_speed`, and as whole processes.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    lab::Lab,
    race::{Comparison, Race},
    row::{Target, Unit},
};
use crate::{process, workspace};

/// The time of opening the store and reading all records.
pub const OPEN: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, _| figure(lab, "open"),
    comparisons: &[Comparison {
        key: "store-open",
        title: "open of a store of 10,000 images",
        target: Target::Under(0.2),
        rival: None,
    }],
};

/// The time of finding an image by the beginning of its id.
pub const SEARCH: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, _| figure(lab, "search"),
    comparisons: &[Comparison {
        key: "store-search",
        title: "search by a prefix of an id among 10,000 images",
        target: Target::Under(0.001),
        rival: None,
    }],
};

/// The time of listing all images.
pub const IMAGES: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, _| seconds(lab, &["images"]),
    comparisons: &[Comparison {
        key: "store-images",
        title: "`images` with 10,000 images",
        target: Target::Under(0.1),
        rival: None,
    }],
};

/// The time of listing the files that no image needs.
pub const COLLECT: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |lab, _| seconds(lab, &["gc", "--dry-run"]),
    comparisons: &[Comparison {
        key: "store-gc",
        title: "`gc --dry-run` with 10,000 images",
        target: Target::Under(2.0),
        rival: None,
    }],
};

/// Runs vmroot with the cache, and returns the time of the whole process.
fn seconds(lab: &Lab, arguments: &[&str]) -> Result<f64> {
    Ok(lab.measure(lab.vmroot(&cache(lab)?).args(arguments))?.wall.as_secs_f64())
}

/// Runs the example for one figure.
fn figure(lab: &Lab, name: &str) -> Result<f64> {
    let printed = process::capture(example().arg(name).arg(cache(lab)?))?;
    printed.trim().parse().with_context(|| format!("store_speed {name} printed {printed:?}"))
}

/// Returns the cache. It is made on first use.
fn cache(lab: &Lab) -> Result<PathBuf> {
    lab.many_images(|cache| process::run(example().arg("generate").arg(cache)))
}

fn example() -> std::process::Command {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "vmroot-image-store", "--example", "store_speed", "--"]);
    cargo
}
