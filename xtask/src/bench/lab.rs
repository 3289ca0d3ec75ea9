//! Everything a measurement needs, made when it is first asked for: images, layouts, trees, programs.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{image, registry::Registry};
use crate::{process, process::Usage, workspace};

/// The bench's directory, its registry, and what was made from the bench image so far.
pub struct Lab {
    /// Turns that each contestant takes.
    pub runs: usize,
    /// Leaves vmroot out.
    pub rivals_only: bool,
    directory: PathBuf,
    registry: Registry,
    log: File,
}

impl Lab {
    /// Starts the registry and makes the images where they are missing.
    pub fn prepare(runs: usize, rivals_only: bool) -> Result<Self> {
        let directory = workspace::target().join("bench");
        fs::create_dir_all(&directory)?;
        let log = OpenOptions::new().create(true).append(true).read(true).open(directory.join("programs.log"))?;
        log.set_len(0)?;
        let registry = Registry::start(&directory)?;
        if image::make(&directory, &registry)? {
            remove(&directory.join("derived"))?;
        }
        // Another build of vmroot may write another cache.
        remove(&directory.join("derived/pulled"))?;
        Ok(Self { runs, rivals_only, directory, registry, log })
    }

    /// The registry that has the images.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A directory for one run, on the disk that all runs use.
    pub fn scratch(&self) -> PathBuf {
        self.directory.join("scratch")
    }

    /// Runs a program silently and measures it.
    pub fn measure(&self, command: &mut Command) -> Result<Usage> {
        process::measure(command, &self.log)
    }

    /// Runs a program for what it prints.
    pub fn output(&self, command: &mut Command) -> Result<String> {
        process::capture(command)
    }

    /// The manifest of one of the images.
    pub fn manifest(&self, name: &str) -> Result<Value> {
        let reference = format!("docker://{}", self.registry.reference(name));
        let text =
            process::capture(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &reference]))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The program, built with all optimisation, on the cache `cache`.
    pub fn vmroot(&self, cache: &Path) -> Command {
        let mut vmroot = Command::new(workspace::target().join("release/vmroot"));
        vmroot.arg("--quiet").arg("--cache").arg(cache);
        vmroot
    }

    /// A cache that holds the bench image.
    pub fn pulled(&self) -> Result<PathBuf> {
        self.derived("pulled", |cache| {
            let reference = self.registry.reference(image::BENCH);
            process::run(self.vmroot(cache).args(["pull", &reference]))
        })
    }

    /// The bench image as an OCI layout, tagged `bench`.
    pub fn layout(&self) -> Result<PathBuf> {
        self.layout_of(image::BENCH)
    }

    /// One of the images as an OCI layout, tagged `bench`.
    fn layout_of(&self, name: &str) -> Result<PathBuf> {
        self.derived(&format!("layout-{name}"), |layout| process::run(&mut self.skopeo_copy(name, layout)))
    }

    /// Copies one of the images from the registry to an OCI layout.
    pub fn skopeo_copy(&self, name: &str, layout: &Path) -> Command {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
        skopeo.arg(format!("docker://{}", self.registry.reference(name)));
        skopeo.arg(format!("oci:{}:bench", layout.display()));
        skopeo
    }

    /// Unpacks the bench image of an OCI layout; the tree is `bundle/rootfs`.
    pub fn umoci_unpack(layout: &Path, bundle: &Path) -> Command {
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--image"]).arg(format!("{}:bench", layout.display())).arg(bundle);
        umoci
    }

    /// The untarred tree of the bench image.
    pub fn tree(&self) -> Result<PathBuf> {
        let layout = self.layout()?;
        let bundle = self.derived("bundle", |bundle| process::run(&mut Self::umoci_unpack(&layout, bundle)))?;
        Ok(bundle.join("rootfs"))
    }

    /// The layers' blobs of one of the images, bottom first.
    pub fn layer_blobs(&self, name: &str) -> Result<Vec<PathBuf>> {
        let layout = self.layout_of(name)?;
        let index = json(&layout.join("index.json"))?;
        let manifest = json(&blob(&layout, &index["manifests"][0])?)?;
        let layers = manifest["layers"].as_array().context("the manifest has no layers")?;
        layers.iter().map(|layer| blob(&layout, layer)).collect()
    }

    /// Each layer untarred into a directory of its own, bottom first.
    pub fn layer_trees(&self) -> Result<Vec<PathBuf>> {
        let untar = |blob: &Path, tree: &Path| {
            fs::create_dir(tree)?;
            process::run(
                Command::new("tar").args(["--xattrs", "--xattrs-include=*", "-xzpf"]).arg(blob).arg("-C").arg(tree),
            )
        };
        let blobs = self.layer_blobs(image::BENCH)?;
        let made =
            |(number, blob): (usize, &PathBuf)| self.derived(&format!("layer-{number}"), |tree| untar(blob, tree));
        blobs.iter().enumerate().map(made).collect()
    }

    /// The tree as an EROFS image without compression.
    pub fn erofs(&self) -> Result<PathBuf> {
        let tree = self.tree()?;
        self.derived("tree.erofs", |image| {
            process::run(Command::new("mkfs.erofs").arg("--quiet").arg(image).arg(&tree))
        })
    }

    /// A rival that is a cargo program of its own under `xtask/rivals`.
    pub fn rival(&self, name: &str) -> Result<Command> {
        let target = workspace::target().join("rivals");
        let program = target.join("release").join(format!("rival-{name}"));
        if !program.exists() {
            let manifest = workspace::root().join("xtask/rivals").join(name).join("Cargo.toml");
            let mut build = workspace::cargo();
            build.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
            process::run(build.arg("--target-dir").arg(&target))?;
        }
        Ok(Command::new(program))
    }

    /// What is made from the image once and kept for the next bench; half-made things are made again.
    fn derived(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let done = self.directory.join("derived").join(name);
        if !done.exists() {
            let unfinished = self.directory.join("unfinished").join(name);
            remove(&unfinished)?;
            for path in [&done, &unfinished] {
                fs::create_dir_all(path.parent().context("a derived thing has a directory")?)?;
            }
            make(&unfinished)?;
            fs::rename(&unfinished, &done)?;
        }
        Ok(done)
    }
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", path.display()))
}

fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor has no digest")?;
    let (algorithm, hex) = digest.split_once(':').context("a digest has no colon")?;
    ensure!(!hex.contains('/') && !algorithm.contains('/'), "a digest is no path");
    Ok(layout.join("blobs").join(algorithm).join(hex))
}
