//! Measures copies of images, against skopeo.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use super::{
    image,
    lab::Lab,
    race::{Comparison, Race},
    registry::Registry,
    row::{Target, Unit},
};
use crate::process;

/// The number of tags that a sync copies.
const TAGS: usize = 100;

/// The repository with [`TAGS`] tags, which share their layers.
const TAGGED: &str = "tagged";

/// The largest resident set of each copy.
const MEMORY_LIMIT: f64 = 100.0 * 1024.0 * 1024.0;

/// Returns the races for one kind of copy: its time against skopeo's, and its memory. It is a macro because the turns of
/// a race are functions without captures.
macro_rules! of_copy {
    ($time:ident, $memory:ident, $key:literal, $title:literal, $factor:literal, $copy:path) => {
        #[doc = concat!("The time of ", $title, ".")]
        pub const $time: Race = Race {
            unit: Unit::Seconds,
            repeat: true,
            keep: false,
            ours: |lab, scratch| Ok($copy(lab, scratch, Program::Vmroot)?.seconds),
            comparisons: &[Comparison {
                key: concat!("copy-", $key),
                title: concat!($title, ", against skopeo"),
                target: Target::TimesFaster($factor),
                rival: Some(|lab, scratch| Ok($copy(lab, scratch, Program::Skopeo)?.seconds)),
            }],
        };

        #[doc = concat!("The largest resident set of ", $title, ".")]
        pub const $memory: Race = Race {
            unit: Unit::Bytes,
            repeat: true,
            keep: false,
            ours: |lab, scratch| Ok($copy(lab, scratch, Program::Vmroot)?.memory),
            comparisons: &[Comparison {
                key: concat!("copy-", $key, "-memory"),
                title: concat!("peak memory of ", $title),
                target: Target::Under(MEMORY_LIMIT),
                rival: None,
            }],
        };
    };
}

of_copy!(REGISTRY, REGISTRY_MEMORY, "registry", "copy from registry to registry", 1.3, to_registry);
of_copy!(LAYOUT, LAYOUT_MEMORY, "layout", "copy from registry to OCI layout", 1.3, to_layout);
of_copy!(ZSTD, ZSTD_MEMORY, "zstd", "copy from gzip to zstd, registry to registry", 3.0, to_zstd);
of_copy!(SYNC, SYNC_MEMORY, "sync", "sync of 100 tags to another registry", 3.0, sync);

/// A contestant. The verbs and flags of both are the same.
#[derive(Clone, Copy)]
enum Program {
    Vmroot,
    Skopeo,
}

/// The figures of one run.
struct Figures {
    seconds: f64,
    memory: f64,
}

impl Program {
    fn command(self, lab: &Lab, scratch: &Path, verb: &str) -> Command {
        let mut command = match self {
            Self::Vmroot => lab.vmroot(&scratch.join("cache")),
            Self::Skopeo => Command::new("skopeo"),
        };
        command.arg(verb).arg("--src-tls-verify=false");
        command
    }
}

fn to_registry(lab: &Lab, scratch: &Path, program: Program) -> Result<Figures> {
    let destination = Registry::start(scratch)?;
    let mut copy = program.command(lab, scratch, "copy");
    measure(lab, copy.arg("--dest-tls-verify=false").args([docker(lab.registry()), docker(&destination)]))
}

fn to_layout(lab: &Lab, scratch: &Path, program: Program) -> Result<Figures> {
    let layout = format!("oci:{}:bench", scratch.join("layout").display());
    measure(lab, program.command(lab, scratch, "copy").args([docker(lab.registry()), layout]))
}

fn to_zstd(lab: &Lab, scratch: &Path, program: Program) -> Result<Figures> {
    let destination = Registry::start(scratch)?;
    let mut copy = program.command(lab, scratch, "copy");
    copy.args(["--dest-tls-verify=false", "--dest-compress-format", "zstd"]);
    measure(lab, copy.args([docker(lab.registry()), docker(&destination)]))
}

fn sync(lab: &Lab, scratch: &Path, program: Program) -> Result<Figures> {
    let source = tag(lab)?;
    let destination = Registry::start(scratch)?;
    let mut sync = program.command(lab, scratch, "sync");
    sync.args(["--dest-tls-verify=false", "--src", "docker", "--dest", "docker"]);
    measure(lab, sync.arg(source).arg(destination.address().to_string()))
}

/// Returns a repository with [`TAGS`] tags of the two images that share layers. It is made on first use.
fn tag(lab: &Lab) -> Result<String> {
    let repository = format!("{}/{TAGGED}", lab.registry().address());
    let done = lab.scratch().with_file_name("tags-made");
    if !done.exists() {
        for number in 0..TAGS {
            let name = if number % 2 == 0 { image::BENCH } else { image::SIBLING };
            let mut copy = Command::new("skopeo");
            copy.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]);
            copy.arg(format!("docker://{}", lab.registry().reference(name)));
            process::run(copy.arg(format!("docker://{repository}:{number}")))?;
        }
        fs::write(done, "")?;
    }
    Ok(repository)
}

fn docker(registry: &Registry) -> String {
    format!("docker://{}", registry.reference(image::BENCH))
}

fn measure(lab: &Lab, command: &mut Command) -> Result<Figures> {
    let usage = lab.measure(command)?;
    Ok(Figures { seconds: usage.wall.as_secs_f64(), memory: usage.peak_memory as f64 })
}
