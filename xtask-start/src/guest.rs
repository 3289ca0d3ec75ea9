//! Kernels and shells of guests, for tests and the bench: Debian's packages, downloaded and unpacked but not installed.
//!
//! `target/guest/ARCHITECTURE` has `boot/vmlinuz-*`, `lib/modules/*` and `busybox`. apt uses its own directories, so
//! that it needs no root and does not add an architecture to the host's configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Context, Error, Result},
    process, workspace,
};

/// The architectures of guests.
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// Fetches missing guests. If that fails, reports it; the tests that need the guest are then skipped.
pub fn prepare() {
    for architecture in ARCHITECTURES {
        if let Err(error) = fetch(architecture) {
            eprintln!("missing: a kernel and a shell for guests of {architecture}, whose tests are skipped: {error}");
        }
    }
}

/// Returns the directory with a directory for each architecture.
pub fn directory() -> PathBuf {
    workspace::target().join("guest")
}

/// Returns the path of the kernel of an architecture.
///
/// # Errors
/// The guest was not fetched.
pub fn kernel(architecture: &str) -> Result<PathBuf> {
    let directory = directory().join(architecture).join("boot");
    let entries = fs::read_dir(&directory).context(directory.display())?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_kernel = |path: &PathBuf| path.to_string_lossy().contains("/vmlinuz-");
    entries.into_iter().find(is_kernel).context(format!("{}: no kernel", directory.display()))
}

/// Fetches the guest of an architecture, unless it is there.
///
/// # Errors
/// The packages cannot be fetched or unpacked.
pub fn fetch(architecture: &str) -> Result<()> {
    let guest = directory().join(architecture);
    if guest.exists() {
        return Ok(());
    }
    eprintln!("fetching Debian's kernel, its modules and busybox for guests of {architecture}: {}", guest.display());
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        if process::find(program).is_none() {
            return Err(Error::new(format!("there is no {program}: kernels are fetched from Debian's packages")));
        }
    }
    let partial = guest.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let apt = Apt::new(&partial.join("apt"), architecture)?;
    let kernel = apt.kernel()?;
    let tree = partial.join("tree");
    for package in [&kernel, "busybox-static"] {
        apt.unpack(package, &tree)?;
    }
    arrange(&tree)?;
    fs::rename(&tree, &guest)?;
    Ok(fs::remove_dir_all(&partial)?)
}

/// Moves the required files to their places and removes the rest. Newer packages have everything in /usr.
fn arrange(tree: &Path) -> Result<()> {
    let usr = tree.join("usr");
    if !tree.join("lib/modules").exists() {
        fs::rename(usr.join("lib"), tree.join("lib")).context("the kernel's package has no modules")?;
    }
    let busybox = [tree.join("bin/busybox"), usr.join("bin/busybox")].into_iter().find(|file| file.exists());
    fs::rename(busybox.context("the package busybox-static has no busybox")?, tree.join("busybox"))?;
    for rest in ["bin", "usr"] {
        let rest = tree.join(rest);
        if rest.exists() {
            fs::remove_dir_all(rest)?;
        }
    }
    Ok(())
}

/// Runs apt for another architecture with an empty package database.
struct Apt {
    architecture: String,
    directory: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(directory: &Path, architecture: &str) -> Result<Self> {
        let path = |name: &str| directory.join(name);
        for name in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(path(name))?;
        }
        fs::write(path("status"), "")?;
        let settings = [
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
            format!("Dir::State={}", path("state").display()),
            format!("Dir::State::status={}", path("status").display()),
            format!("Dir::Cache={}", path("cache").display()),
            "Acquire::Languages=none".to_owned(),
            // As root, apt would download as a user without write access here.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect();
        let apt = Self { architecture: architecture.to_owned(), directory: directory.to_owned(), options };
        process::run(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory).args(&self.options);
        command
    }

    /// Returns the package of the newest cloud kernel, which is small and has only drivers for virtual hardware.
    fn kernel(&self) -> Result<String> {
        let name = format!("linux-image-cloud-{}", self.architecture);
        let shown = process::capture(self.command("apt-cache").args(["show", "--no-all-versions", &name]))?;
        let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).context("it needs no kernel")?;
        let mut packages = depends.split(", ").filter_map(|package| package.split(' ').next());
        packages.find(|package| package.starts_with("linux-image-")).map(str::to_owned).context("it needs no kernel")
    }

    fn unpack(&self, package: &str, tree: &Path) -> Result<()> {
        process::run(self.command("apt-get").args(["-qq", "download", package]))?;
        let beginning = format!("{package}_");
        let mut entries = fs::read_dir(&self.directory)?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_it =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&beginning));
        let archive = entries.find(is_it).context(format!("apt-get downloaded no {package}"))?;
        process::run(Command::new("dpkg-deb").arg("--extract").args([&archive, tree]))
    }
}
