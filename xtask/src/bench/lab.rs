//! The prerequisites of measurements, made on first use: images, layouts, trees and programs.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{archives, image, registry::Registry};
use crate::{process, process::Usage, workspace};

/// The bench's directory and registry, and the files that were derived from the bench image so far.
pub struct Lab {
    /// The number of turns of each contestant.
    pub runs: usize,
    /// Whether vmroot is left out.
    pub rivals_only: bool,
    directory: PathBuf,
    registry: Registry,
    log: File,
}

impl Lab {
    /// Starts the registry, and builds missing images.
    pub fn prepare(runs: usize, rivals_only: bool) -> Result<Self> {
        let directory = workspace::target().join("bench");
        fs::create_dir_all(&directory)?;
        let log = OpenOptions::new().create(true).append(true).read(true).open(directory.join("programs.log"))?;
        log.set_len(0)?;
        let registry = Registry::start(&directory)?;
        if image::make(&directory, &registry)? {
            remove(&directory.join("derived"))?;
        }
        // A changed vmroot may write different files.
        for name in ["pulled", "saved.tar", "many-images"] {
            remove(&directory.join("derived").join(name))?;
        }
        Ok(Self { runs, rivals_only, directory, registry, log })
    }

    /// Returns the registry with the images.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the directory for a run, on the same disk for all runs.
    pub fn scratch(&self) -> PathBuf {
        self.directory.join("scratch")
    }

    /// Runs a program and measures it, with its output in the log.
    pub fn measure(&self, command: &mut Command) -> Result<Usage> {
        process::measure(command, &self.log)
    }

    /// Runs a program and returns its standard output.
    pub fn output(&self, command: &mut Command) -> Result<String> {
        process::capture(command)
    }

    /// Returns the manifest of an image.
    pub fn manifest(&self, name: &str) -> Result<Value> {
        let reference = format!("docker://{}", self.registry.reference(name));
        let text =
            process::capture(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &reference]))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Returns a command for vmroot's release build with the cache `cache`.
    pub fn vmroot(&self, cache: &Path) -> Command {
        let mut vmroot = Command::new(workspace::target().join("release/vmroot"));
        vmroot.arg("--quiet").arg("--cache").arg(cache);
        vmroot
    }

    /// Returns a cache with the bench image.
    pub fn pulled(&self) -> Result<PathBuf> {
        self.derived("pulled", |cache| {
            let reference = self.registry.reference(image::BENCH);
            process::run(self.vmroot(cache).args(["pull", &reference]))
        })
    }

    /// Returns the bench image as vmroot saves it by default.
    pub fn saved_archive(&self) -> Result<PathBuf> {
        let cache = self.pulled()?;
        self.derived("saved.tar", |archive| {
            let reference = self.registry.reference(image::BENCH);
            process::run(self.vmroot(&cache).args(["save", &reference, "-o"]).arg(archive))
        })
    }

    /// Returns a cache with 10,000 images, which `make` makes.
    pub fn many_images(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        self.derived("many-images", make)
    }

    /// Returns a storage of podman with the bench image, as [`archives::NAME`].
    pub fn pulled_by_podman(&self) -> Result<PathBuf> {
        self.derived("podman", |storage| {
            let reference = self.registry.reference(image::BENCH);
            process::run(archives::podman(storage).args(["pull", "--quiet", "--tls-verify=false", &reference]))?;
            process::run(archives::podman(storage).args(["tag", &reference, archives::NAME]))?;
            // podman's database has the path of the storage, which will be another one. It has no images.
            remove(&storage.join("storage/libpod"))
        })
    }

    /// Returns the bench image as podman saves it in a format.
    pub fn podman_archive(&self, format: &str) -> Result<PathBuf> {
        let storage = self.pulled_by_podman()?;
        self.derived(&format!("{format}.tar"), |archive| {
            let mut save = archives::podman(&storage);
            save.args(["save", "--quiet", "--format", format, "--output"]).arg(archive);
            process::run(save.arg(archives::NAME))
        })
    }

    /// Returns an OCI layout of the bench image, with the tag `bench`.
    pub fn layout(&self) -> Result<PathBuf> {
        self.layout_of(image::BENCH)
    }

    /// Returns an OCI layout of an image, with the tag `bench`.
    fn layout_of(&self, name: &str) -> Result<PathBuf> {
        self.derived(&format!("layout-{name}"), |layout| process::run(&mut self.skopeo_copy(name, layout)))
    }

    /// Returns a command that copies an image from the registry to an OCI layout.
    pub fn skopeo_copy(&self, name: &str, layout: &Path) -> Command {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--src-tls-verify=false"]);
        skopeo.arg(format!("docker://{}", self.registry.reference(name)));
        skopeo.arg(format!("oci:{}:bench", layout.display()));
        skopeo
    }

    /// Returns a command that unpacks the bench image of an OCI layout. The tree is `bundle/rootfs`.
    pub fn umoci_unpack(layout: &Path, bundle: &Path) -> Command {
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--image"]).arg(format!("{}:bench", layout.display())).arg(bundle);
        umoci
    }

    /// Returns the unpacked tree of the bench image.
    pub fn tree(&self) -> Result<PathBuf> {
        let layout = self.layout()?;
        let bundle = self.derived("bundle", |bundle| process::run(&mut Self::umoci_unpack(&layout, bundle)))?;
        Ok(bundle.join("rootfs"))
    }

    /// Returns the paths of an image's layer blobs, lowest first.
    pub fn layer_blobs(&self, name: &str) -> Result<Vec<PathBuf>> {
        let layout = self.layout_of(name)?;
        let index = json(&layout.join("index.json"))?;
        let manifest = json(&blob(&layout, &index["manifests"][0])?)?;
        let layers = manifest["layers"].as_array().context("the manifest has no layers")?;
        layers.iter().map(|layer| blob(&layout, layer)).collect()
    }

    /// Returns a directory for each layer with its unpacked files, lowest first.
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

    /// Returns the tree as an uncompressed EROFS image.
    pub fn erofs(&self) -> Result<PathBuf> {
        let tree = self.tree()?;
        self.derived("tree.erofs", |image| {
            process::run(Command::new("mkfs.erofs").arg("--quiet").arg(image).arg(&tree))
        })
    }

    /// Returns a command for a rival that is a cargo program under `xtask/rivals`.
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

    /// Returns a derived file or directory, which is made once and kept for later runs. Incomplete ones are made again.
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
    ensure!(!hex.contains('/') && !algorithm.contains('/'), "a digest is not a path");
    Ok(layout.join("blobs").join(algorithm).join(hex))
}
