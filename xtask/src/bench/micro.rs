//! Measures operations that are too short for a separate process, in `container-fs`'s example `micro`.

use anyhow::{Context, Result};

use super::{
    lab::Lab,
    race::{Comparison, Race},
    row::{Target, Unit},
};
use crate::{process, workspace};

/// The time of opening a merged index.
pub const OPEN: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |_, _| figure("open"),
    comparisons: &[Comparison {
        key: "open",
        title: "open + validate root.idx of 60,000 entries",
        target: Target::Under(0.005),
        rival: None,
    }],
};

/// The time of merging layers.
pub const MERGE: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |_, _| figure("merge"),
    comparisons: &[Comparison { key: "merge", title: "merge of 10 layers", target: Target::Under(0.030), rival: None }],
};

/// The time of finding a path.
pub const LOOKUP: Race = Race {
    unit: Unit::Nanoseconds,
    repeat: true,
    keep: false,
    ours: |_: &Lab, _| figure("lookup"),
    comparisons: &[Comparison {
        key: "lookup",
        title: "lookup, per path component",
        target: Target::Under(250.0),
        rival: None,
    }],
};

/// The time of comparing two roots.
pub const DIFF: Race = Race {
    unit: Unit::Seconds,
    repeat: true,
    keep: false,
    ours: |_, _| figure("diff"),
    comparisons: &[Comparison {
        key: "diff",
        title: "diff of two roots of 60,000 entries",
        target: Target::Under(0.020),
        rival: None,
    }],
};

/// Runs the example for one figure: seconds for `open`, `merge` and `diff`, nanoseconds for `lookup`.
fn figure(name: &str) -> Result<f64> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "vmroot-container-fs", "--example", "micro", "--", name]);
    let printed = process::capture(&mut cargo)?;
    printed.trim().parse().with_context(|| format!("micro {name} printed {printed:?}"))
}
