//! `cargo xtask dist`: a static program, and the tarball and the Debian package that carry it.
//!
//! Everything is in `target/dist`. The same checkout and toolchain give the same bytes: times are that of the last
//! commit, and owners are root.

mod check;
mod debian;
mod dns;
mod elf;
mod licences;
mod tree;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    process,
    setup::{self, Purpose},
    workspace,
};

/// The first glibc that has DNS in its static library. An older one loads it from the host's libraries.
const GLIBC_WITH_DNS: (u32, u32) = (2, 34);

/// Options of the build.
#[derive(Args)]
pub struct Options {
    /// Then test the files: the program alone in an empty root, and the package on a new minimal Debian; needs root
    #[arg(long)]
    check: bool,
    /// Test the files of the last run, without building
    #[arg(long)]
    check_only: bool,
}

/// Builds the program, the tarball and the package, and tests them on request.
pub fn run(options: &Options) -> Result<()> {
    setup::prepare(Purpose::Dist);
    let target = Target::of_host()?;
    if !options.check_only {
        make(&target)?;
    }
    if options.check || options.check_only { check::run(&target) } else { Ok(()) }
}

fn make(target: &Target) -> Result<()> {
    eprintln!("building a static vmroot for {}, which takes some minutes", target.triple);
    target.build()?;
    let program = target.program();
    ensure!(elf::is_static(&program)?, "{}: needs a loader, so it is not static", program.display());
    let directory = directory();
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    }
    let tree = directory.join(target.name());
    tree::write(target, &tree)?;
    let made = [archive(target, &tree)?, debian::package(target, &tree)?];
    let names = made.iter().filter_map(|file| file.file_name());
    let sums = process::capture(Command::new("sha256sum").current_dir(&directory).args(names))?;
    fs::write(directory.join("SHA256SUMS"), &sums)?;
    for file in made {
        println!("{} ({} KiB)", workspace::shown(&file).display(), file.metadata()?.len() >> 10);
    }
    println!("{}", workspace::shown(&directory.join("SHA256SUMS")).display());
    Ok(())
}

/// Returns the directory of the results.
fn directory() -> PathBuf {
    workspace::target().join("dist")
}

/// Writes the tree as a tarball.
fn archive(target: &Target, tree: &Path) -> Result<PathBuf> {
    let file = directory().join(format!("{}.tar.gz", target.name()));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=root:0", "--group=root:0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{}", time_of_commit()?)).args(["--use-compress-program", "gzip -9n", "--file"]);
    tar.arg(&file).arg("--directory").arg(directory()).arg(tree.file_name().context("the tree has a name")?);
    process::run(&mut tar)?;
    Ok(file)
}

/// Returns the time of every file: of `SOURCE_DATE_EPOCH`, or of the last commit, in seconds.
fn time_of_commit() -> Result<String> {
    if let Ok(time) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(time);
    }
    let mut log = Command::new("git");
    let time = process::capture(log.current_dir(workspace::root()).args(["log", "-1", "--format=%ct"]));
    Ok(time.context("set SOURCE_DATE_EPOCH if this is not a git checkout")?.trim().to_owned())
}

/// The target of the build.
struct Target {
    triple: String,
    /// The name of the architecture in Debian.
    architecture: &'static str,
    is_musl: bool,
}

impl Target {
    /// Returns the target for this machine: musl if the toolchain has it, and else glibc.
    fn of_host() -> Result<Self> {
        let (machine, architecture) = match env::consts::ARCH {
            "x86_64" => ("x86_64", "amd64"),
            "aarch64" => ("aarch64", "arm64"),
            other => bail!("no packages are made on {other}"),
        };
        let musl = format!("{machine}-unknown-linux-musl");
        if libraries(&musl)?.is_dir() {
            let compiler = format!("{machine}-linux-musl-gcc");
            if process::find(&compiler).or_else(|| process::find("musl-gcc")).is_some() {
                return Ok(Self { triple: musl, architecture, is_musl: true });
            }
            eprintln!("{musl} is installed, but no C compiler for it (Debian package musl-tools): glibc is used");
        }
        Ok(Self { triple: format!("{machine}-unknown-linux-gnu"), architecture, is_musl: false })
    }

    /// Returns the name of the tarball without its suffixes, and of its directory.
    fn name(&self) -> String {
        format!("vmroot-{}-linux-{}", env!("CARGO_PKG_VERSION"), self.architecture)
    }

    fn program(&self) -> PathBuf {
        workspace::target().join(&self.triple).join("release/vmroot")
    }

    fn build(&self) -> Result<()> {
        let mut build = workspace::cargo();
        build.args(["build", "--release", "--package", "vmroot-cli", "--target", &self.triple]);
        if !self.is_musl {
            self.check_glibc()?;
            // Flags in RUSTFLAGS replace those of a configuration, so both get it. A build for a named target does not
            // use them for build scripts and macros.
            build.arg("--config");
            build.arg(format!("target.{}.rustflags=[\"-C\", \"target-feature=+crt-static\"]", self.triple));
            if let Ok(flags) = env::var("RUSTFLAGS") {
                build.env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static"));
            }
        }
        process::run(&mut build)
    }

    /// Checks that a static program can resolve names without other files.
    fn check_glibc(&self) -> Result<()> {
        let printed = process::capture(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        let version = printed.trim().rsplit(' ').next().and_then(|version| version.split_once('.'));
        let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let version: (u32, u32) = version.with_context(|| format!("getconf printed {printed:?}"))?;
        let (major, minor) = GLIBC_WITH_DNS;
        ensure!(
            version >= GLIBC_WITH_DNS,
            "a static program needs glibc {major}.{minor} or later to resolve names, and this is {}: run `rustup target \
             add {}`, and install musl-tools",
            printed.trim(),
            self.triple.replace("gnu", "musl"),
        );
        Ok(())
    }
}

/// Returns the directory of the standard library for a target. It exists if the target is installed.
fn libraries(triple: &str) -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = process::capture(Command::new(rustc).args(["--print", "target-libdir", "--target", triple]))?;
    Ok(PathBuf::from(printed.trim()))
}
