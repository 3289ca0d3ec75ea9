//! Measures `save` and `load`, against podman with overlay storage.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{
    image,
    lab::Lab,
    race::{Comparison, Race},
    row::{Target, Unit},
};

/// The name of the bench image in podman's storage, which is the same with every address of the registry.
pub(super) const NAME: &str = "localhost/bench:latest";

/// The directory of podman's locks and counters. Its path may have at most 50 characters.
const RUN_ROOT: &str = "/run/vmroot-bench";

/// The largest resident set of a save or a load.
const MEMORY_LIMIT: f64 = 100.0 * 1024.0 * 1024.0;

/// Returns the races for one kind of archive: the time of a work against podman's, and its memory. It is a macro because
/// the turns of a race are functions without captures.
macro_rules! of_archive {
    ($time:ident, $memory:ident, $key:literal, $title:literal, $ours:expr, $rival:expr) => {
        #[doc = concat!("The time of ", $title, ".")]
        pub const $time: Race = Race {
            unit: Unit::Seconds,
            repeat: true,
            keep: false,
            ours: |lab, scratch| Ok(measure(lab, &mut $ours(lab, scratch)?)?.seconds),
            comparisons: &[Comparison {
                key: $key,
                title: concat!($title, ", against podman"),
                target: Target::TimesFaster(3.0),
                rival: Some(|lab, scratch| Ok(measure(lab, &mut $rival(lab, scratch)?)?.seconds)),
            }],
        };

        #[doc = concat!("The largest resident set of ", $title, ".")]
        pub const $memory: Race = Race {
            unit: Unit::Bytes,
            repeat: false,
            keep: false,
            ours: |lab, scratch| Ok(measure(lab, &mut $ours(lab, scratch)?)?.memory),
            comparisons: &[Comparison {
                key: concat!($key, "-memory"),
                title: concat!("peak memory of ", $title),
                target: Target::Under(MEMORY_LIMIT),
                rival: None,
            }],
        };
    };
}

of_archive!(
    SAVE_DOCKER,
    SAVE_DOCKER_MEMORY,
    "save-docker",
    "save as a docker-archive",
    |lab: &Lab, scratch: &Path| save(lab, scratch, "docker-archive"),
    |lab: &Lab, scratch: &Path| podman_save(lab, scratch, "docker-archive")
);
of_archive!(
    SAVE_V24,
    SAVE_V24_MEMORY,
    "save-v24",
    "save as a docker-archive of Docker 24, uncompressed",
    |lab: &Lab, scratch: &Path| save(lab, scratch, "docker-archive-v24"),
    |lab: &Lab, scratch: &Path| podman_save(lab, scratch, "docker-archive")
);
of_archive!(
    SAVE_OCI,
    SAVE_OCI_MEMORY,
    "save-oci",
    "save as an oci-archive",
    |lab: &Lab, scratch: &Path| save(lab, scratch, "oci-archive"),
    |lab: &Lab, scratch: &Path| podman_save(lab, scratch, "oci-archive")
);
of_archive!(
    LOAD_DOCKER,
    LOAD_DOCKER_MEMORY,
    "load-docker",
    "load of podman's docker-archive",
    |lab: &Lab, scratch: &Path| load(lab, scratch, &lab.podman_archive("docker-archive")?),
    |lab: &Lab, scratch: &Path| podman_load(scratch, &lab.podman_archive("docker-archive")?)
);
of_archive!(
    LOAD_OCI,
    LOAD_OCI_MEMORY,
    "load-oci",
    "load of podman's oci-archive",
    |lab: &Lab, scratch: &Path| load(lab, scratch, &lab.podman_archive("oci-archive")?),
    |lab: &Lab, scratch: &Path| podman_load(scratch, &lab.podman_archive("oci-archive")?)
);
of_archive!(
    LOAD_SAVED,
    LOAD_SAVED_MEMORY,
    "load-saved",
    "load of vmroot's docker-archive",
    |lab: &Lab, scratch: &Path| load(lab, scratch, &lab.saved_archive()?),
    |lab: &Lab, scratch: &Path| podman_load(scratch, &lab.saved_archive()?)
);

/// The figures of one run.
struct Figures {
    seconds: f64,
    memory: f64,
}

fn measure(lab: &Lab, command: &mut Command) -> Result<Figures> {
    let usage = lab.measure(command)?;
    Ok(Figures { seconds: usage.wall.as_secs_f64(), memory: usage.peak_memory as f64 })
}

fn save(lab: &Lab, scratch: &Path, format: &str) -> Result<Command> {
    let mut save = lab.vmroot(&lab.pulled()?);
    save.args(["save", "--format", format, "-o"]).arg(scratch.join("image.tar"));
    save.arg(lab.registry().reference(image::BENCH));
    Ok(save)
}

fn podman_save(lab: &Lab, scratch: &Path, format: &str) -> Result<Command> {
    let mut save = podman(&lab.pulled_by_podman()?);
    save.args(["save", "--quiet", "--format", format, "--output"]).arg(scratch.join("image.tar")).arg(NAME);
    Ok(save)
}

fn load(lab: &Lab, scratch: &Path, archive: &Path) -> Result<Command> {
    let mut load = lab.vmroot(&scratch.join("cache"));
    load.arg("load").arg(archive);
    Ok(load)
}

fn podman_load(scratch: &Path, archive: &Path) -> Result<Command> {
    let mut load = podman(&scratch.join("podman"));
    load.args(["load", "--quiet", "--input"]).arg(archive);
    Ok(load)
}

/// Returns a command for podman with its storage in a directory. Overlay is faster than vfs, which copies the whole tree
/// for each layer.
pub(super) fn podman(directory: &Path) -> Command {
    let mut podman = Command::new("podman");
    podman.arg("--root").arg(directory.join("storage")).args(["--runroot", RUN_ROOT]);
    podman.args(["--storage-driver", "overlay"]);
    podman
}
