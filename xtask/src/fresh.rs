//! `cargo xtask fresh`: runs all checks and tests of HEAD on a machine with only the packages that the README requires.
//!
//! The machine is a minimal Debian in a directory, made by mmdebstrap, with a copy of this toolchain and a clone of
//! HEAD. The test suite must install everything else by itself, so a package that is missing from the setup is noticed
//! here before it fails on a user's machine. All mounts are in a separate mount namespace, which ends with the run.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    process,
    setup::{self, Purpose},
    workspace,
};

/// The packages that the README requires. apt installs the C library's headers with gcc, but mmdebstrap does not.
const PACKAGES: &str = "ca-certificates,gcc,git,libc6-dev";

/// The path of the clone on the machine.
const CHECKOUT: &str = "/checkout";

/// The script that enters the machine. It runs in a mount namespace and makes its argument the root of that namespace.
/// A chroot would not be enough, because it does not allow the user namespaces that tests create.
const ENTER: &str = r#"set -e
mount --bind "$0" "$0"
for name in dev proc sys; do mount --rbind "/$name" "$0/$name"; done
cd "$0"
pivot_root . .
umount --lazy .
cd /
exec env -i "$@"
"#;

/// Options of the run.
#[derive(Args)]
pub struct Options {
    /// Keep the machine in target/fresh for inspection
    #[arg(long)]
    keep: bool,
    /// Run this task on the machine instead of `.ci/run`, such as `-- demo --boot`
    #[arg(last = true)]
    task: Vec<String>,
}

/// Builds the machine, runs `.ci/run` or a task on it, and removes it.
pub fn run(options: &Options) -> Result<()> {
    ensure!(setup::is_root(), "only root may make a machine in a directory and enter it");
    setup::prepare(Purpose::Fresh);
    let machine = Machine { root: workspace::target().join("fresh") };
    machine.remove()?;
    let outcome = machine.make().and_then(|()| machine.run(&options.task));
    if options.keep {
        eprintln!("the machine is in {}", machine.root.display());
    } else {
        machine.remove()?;
    }
    outcome
}

struct Machine {
    root: PathBuf,
}

impl Machine {
    fn make(&self) -> Result<()> {
        bootstrap(&self.root, PACKAGES)?;
        for name in ["resolv.conf", "hosts"] {
            fs::copy(Path::new("/etc").join(name), self.root.join("etc").join(name))
                .with_context(|| format!("cannot copy /etc/{name}"))?;
        }
        // Created by systemd at boot, and by Docker for a container.
        std::os::unix::fs::symlink("/proc/self/mounts", self.root.join("etc/mtab")).context("etc/mtab")?;
        let home = PathBuf::from(env::var_os("HOME").context("HOME is not set")?);
        let place = |variable: &str, name: &str| env::var_os(variable).map_or_else(|| home.join(name), PathBuf::from);
        let target = self.root.join("root");
        for (from, to) in [(place("RUSTUP_HOME", ".rustup"), ".rustup"), (place("CARGO_HOME", ".cargo"), ".cargo")] {
            process::run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(&from).arg(target.join(to)))?;
        }
        let checkout = self.root.join(CHECKOUT.trim_start_matches('/'));
        process::run(
            Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(workspace::root()).arg(checkout),
        )
    }

    fn run(&self, task: &[String]) -> Result<()> {
        let mut enter = Command::new("unshare");
        enter.args(["--mount", "--propagation=private", "sh", "-c", ENTER]).arg(&self.root);
        enter
            .args(["HOME=/root", "PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        let of_the_network = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
        for (name, value) in env::vars().filter(|(name, _)| of_the_network(name)) {
            enter.arg(format!("{name}={value}"));
        }
        if task.is_empty() {
            enter.arg(format!("{CHECKOUT}/.ci/run"));
        } else {
            enter.args(["sh", "-c", "cd \"$0\" && exec cargo xtask \"$@\"", CHECKOUT]).args(task);
        }
        process::run(&mut enter)
    }

    /// Removes the machine. Its mounts are not visible in this process's namespace.
    fn remove(&self) -> Result<()> {
        if self.root.exists() {
            process::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.root))?;
        }
        Ok(())
    }
}

/// Makes a minimal Debian in a directory, of the host's release, with further packages (`a,b,c`).
pub fn bootstrap(root: &Path, packages: &str) -> Result<()> {
    process::run(mmdebstrap(packages)?.arg(codename()?).arg(root).args(sources_of_apt()?))
}

/// Makes a minimal Debian in a directory, of another release, from Debian's own mirror.
pub fn bootstrap_of(release: &str, root: &Path, packages: &str) -> Result<()> {
    process::run(mmdebstrap(packages)?.arg(release).arg(root))
}

fn mmdebstrap(packages: &str) -> Result<Command> {
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--variant=minbase", "--quiet", &format!("--include={packages}")]);
    for setting in settings_of_apt()? {
        mmdebstrap.arg(format!("--aptopt={setting}"));
    }
    Ok(mmdebstrap)
}

/// Returns the Debian release of the host.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release has no VERSION_CODENAME: this is not Debian")?.trim_matches('"').to_owned())
}

/// Returns the host's files of package sources.
fn sources_of_apt() -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten() {
        files.push(entry?.path());
    }
    let is_list =
        |file: &PathBuf| file.extension().is_some_and(|extension| extension == "list" || extension == "sources");
    files.retain(|file| is_list(file) && fs::read_to_string(file).is_ok_and(|text| !text.trim().is_empty()));
    files.sort();
    Ok(files)
}

/// Returns the settings of the host's apt for proxies, and for sources that are snapshots.
fn settings_of_apt() -> Result<Vec<String>> {
    let settings = process::capture(Command::new("apt-config").arg("dump"))?;
    let is_wanted = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        name.starts_with("acquire::check-") || name.starts_with("acquire::") && name.ends_with("proxy")
    };
    Ok(settings.lines().filter(is_wanted).map(str::to_owned).collect())
}
