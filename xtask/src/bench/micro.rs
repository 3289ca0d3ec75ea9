//! What is too short for a process of its own: measured inside `container-fs`'s example `micro`.

use anyhow::{Context, Result};

use super::{
    lab::Lab,
    race::{Against, Race},
    row::{Target, Unit},
};
use crate::{process, workspace};

/// Opening a merged index.
pub const OPEN: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |_, _| figure("open"),
    against: &[Against {
        key: "open",
        title: "open + validate root.idx of 60,000 entries",
        target: Target::Under(0.005),
        rival: None,
    }],
};

/// Merging layers.
pub const MERGE: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |_, _| figure("merge"),
    against: &[Against { key: "merge", title: "merge of 10 layers", target: Target::Under(0.030), rival: None }],
};

/// Finding a path.
pub const LOOKUP: Race = Race {
    unit: Unit::Nanoseconds,
    repeat: true,
    keep: false,
    ours: |_: &Lab, _| figure("lookup"),
    against: &[Against {
        key: "lookup",
        title: "lookup, per path component",
        target: Target::Under(250.0),
        rival: None,
    }],
};

/// Runs the example for one figure: seconds for `open` and `merge`, nanoseconds for `lookup`.
fn figure(name: &str) -> Result<f64> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "vmroot-container-fs", "--example", "micro", "--", name]);
    let printed = process::capture(&mut cargo)?;
    printed.trim().parse().with_context(|| format!("micro {name} printed {printed:?}"))
}
