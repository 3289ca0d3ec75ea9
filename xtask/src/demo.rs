//! `cargo xtask demo`: runs the main commands once for two architectures, and prints sizes and times.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use vmroot_testkit::registry::Registry;

use crate::{
    process,
    setup::{self, Purpose},
    testdata, walk, workspace,
};

const ARCHITECTURES: [&str; 2] = ["arm64", "amd64"];

/// The image of the demo.
#[derive(Args)]
pub struct Options {
    /// A reference with images for arm64 and amd64 [default: the image of testdata/, from a registry on loopback]
    reference: Option<String>,
    /// Options for vmroot, such as --ca-file FILE or --creds USER:PASSWORD
    #[arg(last = true)]
    vmroot: Vec<String>,
}

/// Pulls, mounts, lists, reads and exports the image for each architecture.
pub fn run(options: &Options) -> Result<()> {
    setup::prepare(Purpose::Demo)?;
    process::run(workspace::cargo().args(["build", "--release", "--package", "vmroot-cli"]))?;
    // The registry stops when it is dropped.
    let (_registry, reference) = match &options.reference {
        Some(reference) => (None, reference.clone()),
        None => {
            let registry = Registry::start();
            registry.put_layout(&testdata::demo_layout(), "demo").context("cannot serve testdata/")?;
            let reference = format!("{}/demo:latest", registry.host());
            (Some(registry), reference)
        }
    };
    let directory = workspace::target().join("demo");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    let no_mount = setup::missing_fuse();
    let mut failed = Vec::new();
    for architecture in ARCHITECTURES {
        println!("\n{reference} for {architecture}");
        let demo = Demo::new(&directory, &reference, architecture, &options.vmroot)?;
        // The image may lack one of the architectures.
        if let Err(error) = demo.show(no_mount) {
            println!("      failed  {error:#}");
            failed.push(architecture);
        }
    }
    println!("\nEverything is in {}", directory.display());
    if let Some(reason) = no_mount {
        println!("Not shown: this machine lacks {reason}");
    }
    ensure!(failed.is_empty(), "the demo failed for {}", failed.join(", "));
    Ok(())
}

/// The demo of one architecture.
struct Demo<'a> {
    directory: PathBuf,
    cache: PathBuf,
    reference: &'a str,
    architecture: &'a str,
    options: &'a [String],
}

impl<'a> Demo<'a> {
    /// Both architectures use one cache, which stores their common blobs once.
    fn new(directory: &Path, reference: &'a str, architecture: &'a str, options: &'a [String]) -> Result<Self> {
        let own = directory.join(architecture);
        fs::create_dir_all(&own)?;
        Ok(Self { directory: own, cache: directory.join("cache"), reference, architecture, options })
    }

    fn show(&self, no_mount: Option<&str>) -> Result<()> {
        let id = self.pull()?;
        self.inspect(&id)?;
        let (names, time) = self.vmroot(&["ls", &id, "/"])?;
        row(time, "ls /", &names.split_whitespace().collect::<Vec<_>>().join(" "));
        match no_mount {
            None => self.mount(&id)?,
            Some(_) => row(Duration::ZERO, "mount", "skipped"),
        }
        self.export(&id, "prebaked")?;
        self.export(&id, "tar")
    }

    fn pull(&self) -> Result<String> {
        let before = disk_usage(&self.cache)?;
        let (id, time) = self.vmroot(&["pull", "--arch", self.architecture, self.reference])?;
        row(time, "pull and index", &format!("the cache grew by {}", mebibytes(disk_usage(&self.cache)? - before)));
        Ok(id.trim().to_owned())
    }

    fn inspect(&self, id: &str) -> Result<()> {
        let (printed, time) = self.vmroot(&["inspect", "--json", id])?;
        let image: Value = serde_json::from_str(&printed)?;
        let layers = image["layers"].as_array().context("inspect prints no layers")?;
        let bytes = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
        let platform = image["platform"].as_str().unwrap_or_default();
        row(time, "inspect", &format!("{platform}, {} in {} layers, {}", mebibytes(bytes), layers.len(), short(id)));
        Ok(())
    }

    fn mount(&self, id: &str) -> Result<()> {
        let point = self.directory.join("mount");
        fs::create_dir_all(&point)?;
        let (_, time) = self.vmroot(&["mount", "--driver", "fuse", "--detach", id, text(&point)?])?;
        row(time, "mount", "read-only, by FUSE");
        let used = use_mount(&point);
        let (_, time) = self.vmroot(&["umount", text(&point)?])?;
        row(time, "umount", "");
        used
    }

    fn export(&self, id: &str, format: &str) -> Result<()> {
        let out = self.directory.join(format);
        let (_, time) = self.vmroot(&["export", id, text(&out)?, "--format", format])?;
        row(time, &format!("export {format}"), &mebibytes(disk_usage(&out)?));
        Ok(())
    }

    /// Runs the program. Returns its standard output and its run time.
    fn vmroot(&self, arguments: &[&str]) -> Result<(String, Duration)> {
        let mut vmroot = Command::new(workspace::target().join("release/vmroot"));
        vmroot.arg("--cache").arg(&self.cache).args(self.options).args(arguments);
        let start = Instant::now();
        let printed = process::capture(&mut vmroot)?;
        Ok((printed, start.elapsed()))
    }
}

fn use_mount(point: &Path) -> Result<()> {
    let start = Instant::now();
    let seen = walk::stat_all(point)?;
    ensure!(seen.paths > 0, "nothing is in {}", point.display());
    row(
        start.elapsed(),
        "list the mount",
        &format!("{} paths, each with its attributes{}", seen.paths, refused(&seen)),
    );
    let start = Instant::now();
    let seen = walk::read_all(point)?;
    row(start.elapsed(), "read the mount", &format!("{} of files{}", mebibytes(seen.bytes), refused(&seen)));
    Ok(())
}

/// Describes the files that this user could not read: the kernel applies the image's permissions to users of a mount.
fn refused(seen: &walk::Totals) -> String {
    match seen.refused {
        0 => String::new(),
        refused => format!("; {refused} not readable by this user"),
    }
}

fn row(time: Duration, step: &str, what: &str) {
    let time = match time.as_secs_f64() {
        0.0 => String::new(),
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s "),
    };
    println!("{}", format!("{time:>12}  {step:<16} {what}").trim_end());
}

fn short(id: &str) -> &str {
    id.get(..19).unwrap_or(id)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the checkout's path is not UTF-8")
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Returns the disk usage of a file or of a directory tree in bytes, or 0 if it does not exist.
fn disk_usage(path: &Path) -> Result<u64> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(0) };
    let mut blocks = metadata.blocks();
    if metadata.is_dir() {
        walk::visit(path, &mut |_, metadata| {
            blocks += metadata.blocks();
            Ok(())
        })?;
    }
    Ok(blocks * 512)
}
