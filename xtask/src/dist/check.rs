//! Tests of the files: the program alone in an empty root, and the package on a new minimal Debian.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use vmroot_testkit::registry::{PlainAnswer, Registry};

use super::{Target, directory, dns};
use crate::{fresh, process, setup, testdata, workspace};

/// The name of the registry, which no server outside this test knows.
const NAME: &str = "registry.test";

/// The authority of the registry with TLS.
const AUTHORITY: &str = "crates/testkit/src/registry/tls/ca.pem";

/// The packages of the Debian: the manual's reader, and the shells with completions.
const PACKAGES: &str = "bash-completion,fish,man-db,zsh";

/// Lines for shells on the Debian. Each must succeed.
const LINES: [&str; 9] = [
    "dpkg --install /vmroot.deb",
    "dpkg --verify vmroot",
    "vmroot --version",
    "test $(ls /usr/share/man/man1/vmroot*.1.gz | wc -l) -gt 20",
    // groff warns about macros and characters that it does not know.
    "for page in /usr/share/man/man?/vmroot*; do LC_ALL=C.UTF-8 man --warnings --local-file $page >/tmp/page \
     2>/tmp/warnings || exit; test -s /tmp/page && ! grep . /tmp/warnings || exit 1; done",
    "LC_ALL=C.UTF-8 man vmroot-pull | grep -q '^EXIT STATUS'",
    r#"bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader vmroot; complete -p vmroot;
        COMP_WORDS=(vmroot verif) COMP_CWORD=1 COMP_LINE="vmroot verif" COMP_POINT=12
        f=$(complete -p vmroot | sed "s/.*-F \([^ ]*\).*/\1/"); $f vmroot verif vmroot; test "${COMPREPLY[0]}" = verify'"#,
    r#"zsh -f -c 'autoload -U compinit; compinit -u -d /tmp/zcompdump; test "$_comps[vmroot]" = _vmroot'"#,
    "fish --no-config -c 'set fish_complete_path /usr/share/fish/vendor_completions.d; complete -C \"vmroot verif\"' \
     | grep -q '^verify'",
];

/// Runs all tests.
pub fn run(target: &Target) -> Result<()> {
    ensure!(setup::is_root(), "only root may enter a new root: run `cargo xtask dist --check` as root");
    let scratch = workspace::target().join("dist-check");
    remove(&scratch)?;
    let outcome = in_empty_root(target, &scratch.join("empty")).and_then(|()| on_debian(target, &scratch));
    remove(&scratch)?;
    outcome?;
    eprintln!("the program works in an empty root, and the package on a new Debian");
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        process::capture(Command::new("rm").args(["-rf", "--one-file-system"]).arg(directory))?;
    }
    Ok(())
}

/// Pulls by name from registries, in a root that has no file but the program and those of each step.
fn in_empty_root(target: &Target, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("etc"))?;
    let program = directory().join(target.name()).join("bin/vmroot");
    fs::copy(&program, root.join("vmroot")).with_context(|| program.display().to_string())?;
    let (plain, private) = (Registry::start(), Registry::start_tls(PlainAnswer::BadRequest));
    for registry in [&plain, &private] {
        registry.put_layout(&testdata::demo_layout(), "demo").context("cannot serve testdata/")?;
    }
    let port = |registry: &Registry| registry.host().rsplit(':').next().unwrap_or_default().to_owned();
    let named = format!("{NAME}:{}/demo", port(&plain));
    let empty = EmptyRoot(root);

    empty.fails(&["pull", "--plain-http", &named], NAME)?;
    empty.has("etc/hosts", &format!("127.0.0.1 localhost {NAME}\n"))?;
    empty.pulls(&["--plain-http", &named])?;

    let secret = format!("localhost:{}/demo", port(&private));
    empty.fails(&["pull", &secret], "certificate")?;
    fs::copy(workspace::root().join(AUTHORITY), root.join("etc/ca.pem")).context(AUTHORITY)?;
    empty.pulls(&["--ca-file", "/etc/ca.pem", &secret])?;

    fs::remove_file(root.join("etc/hosts"))?;
    dns::serve(NAME).with_context(|| format!("cannot serve DNS on {}", dns::SERVER))?;
    empty.has("etc/resolv.conf", &format!("nameserver {}\n", dns::SERVER))?;
    // Services that the program must not load.
    empty.has("etc/nsswitch.conf", "hosts: mymachines mdns4_minimal [NOTFOUND=return] resolve dns myhostname\n")?;
    empty.pulls(&["--plain-http", &named])?;
    empty.fails(&["pull", "--plain-http", "missing.test/demo"], "missing.test")
}

/// A directory that programs see as their root.
struct EmptyRoot<'a>(&'a Path);

impl EmptyRoot<'_> {
    fn has(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.0.join(name), text).with_context(|| name.to_owned())
    }

    fn vmroot(&self, arguments: &[&str]) -> Command {
        let mut vmroot = chroot();
        vmroot.arg(self.0).args(["/vmroot", "--cache", "/cache", "--arch", "amd64"]).args(arguments).env_clear();
        vmroot
    }

    /// Pulls into a new cache, and reads a file.
    fn pulls(&self, arguments: &[&str]) -> Result<()> {
        remove(&self.0.join("cache"))?;
        let id = process::capture(&mut self.vmroot(&[&["pull"], arguments].concat()))?;
        let text = process::capture(&mut self.vmroot(&["cat", id.trim(), "/home/demo/hello"]))?;
        ensure!(text == "hello from vmroot\n", "{arguments:?}: the file has {text:?}");
        Ok(())
    }

    /// Checks that a command fails with an error that has `word`.
    fn fails(&self, arguments: &[&str], word: &str) -> Result<()> {
        let mut vmroot = self.vmroot(arguments);
        let output = vmroot.output().context("chroot")?;
        let error = String::from_utf8_lossy(&output.stderr);
        eprintln!("$ {}\n{}", xtask_start::process::text(&vmroot), error.trim_end());
        ensure!(output.status.code().is_some_and(|code| code > 0), "{arguments:?}: {}: {error}", output.status);
        ensure!(error.contains(word), "{arguments:?}: the error does not name {word}: {error}");
        Ok(())
    }
}

/// Returns a command of chroot(8), which is found without a `PATH`.
fn chroot() -> Command {
    Command::new(process::find("chroot").unwrap_or_else(|| "/usr/sbin/chroot".into()))
}

/// Installs the package and runs [`LINES`].
fn on_debian(target: &Target, scratch: &Path) -> Result<()> {
    let root: PathBuf = scratch.join("debian");
    fresh::bootstrap(&root, PACKAGES)?;
    let package = format!("vmroot_{}_{}.deb", env!("CARGO_PKG_VERSION"), target.architecture);
    fs::copy(directory().join(&package), root.join("vmroot.deb")).context(package)?;
    for line in LINES {
        let mut shell = chroot();
        shell.arg(&root).args(["/bin/sh", "-c", line]).env_clear();
        shell.envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("TERM", "dumb")]);
        process::run(&mut shell)?;
    }
    Ok(())
}
