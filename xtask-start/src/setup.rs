//! The requirements of the development tasks: Debian packages, and features of the machine.
//!
//! Missing packages are installed if the user is root or sudo needs no password. Otherwise the missing ones are
//! reported, with the consequence that tests are skipped. Nothing else depends on Debian.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
};

use crate::{process, workspace};

/// The task that the machine is prepared for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `cargo xtask demo`.
    Demo,
    /// `cargo xtask dist`.
    Dist,
    /// `cargo xtask guests`.
    Guests,
    /// `cargo xtask demo --boot`, which boots a guest of this machine's architecture.
    Boot,
    /// `cargo xtask test`.
    Test,
    /// `cargo xtask bench`.
    Bench,
    /// `cargo xtask testdata`.
    Testdata,
    /// `cargo xtask fresh`.
    Fresh,
    /// `cargo xtask fuzz`.
    Fuzz,
}

struct Package {
    name: &'static str,
    /// A program of the package, or the full path of another file. If it exists, the package is not needed.
    program: &'static str,
    purposes: &'static [Purpose],
    reason: &'static str,
}

use Purpose::{Bench, Boot, Demo, Dist, Fresh, Fuzz, Guests, Test, Testdata};

const ARM_GUESTS: &[Purpose] = if cfg!(target_arch = "aarch64") { &[Test, Guests, Boot] } else { &[Test, Guests] };
const X86_GUESTS: &[Purpose] =
    if cfg!(target_arch = "aarch64") { &[Test, Bench, Guests] } else { &[Test, Bench, Guests, Boot] };

static PACKAGES: &[Package] = &[
    package("acl", "setfacl", &[Test], "images with access control lists"),
    package("apache2-utils", "htpasswd", &[Test], "a registry that asks for a password"),
    package("attr", "setfattr", &[Test], "images with extended attributes"),
    package("buildah", "buildah", &[Test, Bench], "an independent maker and reader of images"),
    package("btrfs-progs", "mkfs.btrfs", &[Test], "a file system that shares blocks"),
    package("busybox-static", "busybox", &[Test], "a shell that needs nothing else"),
    package("bzip2", "bzip2", &[Test], "archives inside bzip2"),
    package("cpio", "cpio", &[Test], "an independent reader of initramfs archives"),
    package("cryptsetup-bin", "veritysetup", &[Test], "the judge of hash trees"),
    package("docker.io", "dockerd", &[Test], "a Docker engine, which saves and loads images"),
    package("docker-registry", "docker-registry", &[Test, Bench], "a real registry on loopback"),
    package("e2fsprogs", "e2fsck", &[Test, Bench], "the judge of ext4 images, and a rival"),
    package("erofs-utils", "fsck.erofs", &[Test, Bench], "the judge of EROFS images, and a rival"),
    package("faketime", "faketime", &[Test], "another day"),
    package("fish", "fish", &[Test], "a shell that reads completion scripts"),
    package("fuse-overlayfs", "fuse-overlayfs", &[Bench], "a rival of the mount"),
    package("fuse3", "fusermount3", &[Demo, Test, Bench], "FUSE mounts for users other than root"),
    package("g++", "c++", &[Fuzz], "libFuzzer, which is C++"),
    package("gnupg", "gpg", &[Test], "the judge of OpenPGP signatures"),
    package("groff-base", "groff", &[Test], "the reader of man pages"),
    package("libarchive-tools", "bsdtar", &[Test], "an independent reader of tars"),
    package("libcap-ng-dev", "/usr/include/cap-ng.h", &[Bench], "building virtiofsd, a rival"),
    package("libnbd-bin", "nbdinfo", &[Test], "an independent client of NBD"),
    package("libseccomp-dev", "/usr/include/seccomp.h", &[Bench], "building virtiofsd, a rival"),
    package("man-db", "man", &[Test], "the reader of man pages as a user starts it"),
    package(
        "mmdebstrap",
        "mmdebstrap",
        &[Test, Bench, Testdata, Fresh, Dist],
        "Debian trees and programs of any architecture",
    ),
    package("mount", "mount", &[Test, Bench, Fresh], "kernel overlayfs, the judge of merges"),
    package("openssl", "openssl", &[Test], "a private certificate authority"),
    package("pigz", "pigz", &[Test], "gzip streams of another maker"),
    package("podman", "podman", &[Test, Bench], "an independent keeper of images, and a rival"),
    package("python3", "pydoc3", &[Test], "an independent reader of tars; the minimal package lacks the module"),
    package("qemu-system-arm", "qemu-system-aarch64", ARM_GUESTS, "guests of another architecture"),
    package("qemu-system-x86", "qemu-system-x86_64", X86_GUESTS, "guests"),
    package("qemu-utils", "qemu-img", &[Test], "an independent reader of VMDK"),
    package("skopeo", "skopeo", &[Test, Bench], "an independent reader and writer of registries"),
    package("squashfs-tools", "unsquashfs", &[Test, Bench], "making squashfs images, and judging them"),
    package("umoci", "umoci", &[Test, Bench], "an independent maker and unpacker of OCI images"),
    package("util-linux", "setpriv", &[Test], "running the program as another user"),
    package("xfsprogs", "mkfs.xfs", &[Test], "a file system that shares blocks"),
    package("xz-utils", "xz", &[Test], "archives inside xz"),
    package("zsh", "zsh", &[Test], "a shell that reads completion scripts"),
    package("zstd", "zstd", &[Test], "archives inside zstd"),
];

const fn package(
    name: &'static str,
    program: &'static str,
    purposes: &'static [Purpose],
    reason: &'static str,
) -> Package {
    Package { name, program, purposes, reason }
}

/// Installs missing packages for `purpose` if possible, and reports everything that is still missing.
pub fn prepare(purpose: Purpose) {
    let missing = missing(purpose);
    if !missing.is_empty() {
        install(&missing);
    }
    if purpose == Test {
        rust_components();
    }
    for package in self::missing(purpose) {
        let consequence = if purpose == Test { "; tests that need it are skipped" } else { "" };
        eprintln!("missing: Debian package {} ({}){consequence}", package.name, package.reason);
    }
    for lack in missing_features(purpose) {
        eprintln!("missing: {lack}");
    }
}

fn missing(purpose: Purpose) -> Vec<&'static Package> {
    let needed = PACKAGES.iter().filter(|package| package.purposes.contains(&purpose));
    needed.filter(|package| process::find(package.program).is_none()).collect()
}

/// Installs packages. A failure is only reported, because the missing packages are listed afterwards.
fn install(packages: &[&Package]) {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    let Some(prefix) = administrator() else {
        eprintln!(
            "this user cannot install packages: as root, run `apt-get install --no-install-recommends {}`",
            names.join(" ")
        );
        return;
    };
    let apt = |arguments: &[&str]| {
        let mut words = prefix.iter().copied().chain([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-qq",
            "-o=Dpkg::Use-Pty=0",
        ]);
        let program = words.next().unwrap_or("apt-get");
        process::run(Command::new(program).args(words).args(arguments))
    };
    let install = [&["install", "--yes", "--no-install-recommends"][..], &names].concat();
    if let Err(error) = apt(&["update"]).and_then(|()| apt(&install)) {
        eprintln!("{error:#}");
    }
}

/// Installs the components that the checks need and that rustup's minimal profile lacks.
fn rust_components() {
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if process::capture(workspace::cargo().args([subcommand, "--version"])).is_ok() {
            continue;
        }
        if let Err(error) = process::run(Command::new("rustup").args(["component", "add", component])) {
            eprintln!("missing: the Rust component {component}: {error:#}");
        }
    }
}

/// Returns whether this process has the rights of root.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Returns the words that make a command run as root, if that is possible without a password.
fn administrator() -> Option<&'static [&'static str]> {
    process::find("apt-get")?;
    if is_root() {
        return Some(&[]);
    }
    process::find("sudo")?;
    process::capture(Command::new("sudo").args(["-n", "true"])).ok().map(|_| &["sudo", "-n"][..])
}

/// Returns the reason why FUSE mounts are impossible, if there is one.
pub fn missing_fuse() -> Option<&'static str> {
    if OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return Some("/dev/fuse, or the right to open it; FUSE mounts are skipped");
    }
    let root = is_root();
    (!root && process::find("fusermount3").is_none())
        .then_some("fusermount3, by which users other than root mount; FUSE mounts are skipped")
}

/// Returns the missing features that no package provides.
fn missing_features(purpose: Purpose) -> Vec<&'static str> {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let kernel_has = |name: &str| known.split_whitespace().any(|known| known == name);
    let mut lacks = Vec::new();
    if matches!(purpose, Testdata | Fresh | Dist | Guests | Boot) {
        return lacks;
    }
    lacks.extend(missing_fuse());
    if purpose == Demo {
        return lacks;
    }
    if !is_root() {
        lacks.push("root; tests that mount, make devices or change owners are skipped");
    }
    if !kernel_has("overlay") && !Path::new("/sys/module/overlay").exists() {
        lacks.push("overlayfs in the kernel; comparisons with it are skipped");
    }
    lacks
}
