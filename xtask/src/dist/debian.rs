//! The Debian package, built by dpkg-deb from the tree of the tarball.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

use super::{Target, directory, time_of_commit};
use crate::process;

/// Files of the tarball, and where the policy of Debian wants them. Man pages move with all of `share/man`.
const MOVED: [(&str, &str); 4] = [
    ("usr/share/zsh/site-functions", "usr/share/zsh/vendor-completions"),
    ("usr/share/doc/vmroot/CHANGELOG.md", "usr/share/doc/vmroot/changelog"),
    ("usr/share/doc/vmroot/LICENSE-APACHE", ""),
    ("usr/share/doc/vmroot/LICENSE-MIT", ""),
];

const DESCRIPTION: &str = "\
root file systems for VMs from container images
 vmroot pulls an image from a registry, or reads an archive or an OCI layout,
 and provides its root as an EROFS, ext4 or squashfs image, an initramfs, a
 virtio-fs share, a mount, a directory or a tar. It also boots guests, and
 copies, mirrors and inspects images.
";

/// Writes the package beside the tarball, and returns its path.
pub fn package(target: &Target, tree: &Path) -> Result<PathBuf> {
    let root = directory().join("debian");
    fs::create_dir_all(root.join("DEBIAN"))?;
    process::capture(Command::new("cp").arg("--recursive").arg(tree).arg(root.join("usr")))?;
    for (from, to) in MOVED {
        let from = root.join(from);
        match to {
            "" => fs::remove_file(&from),
            to => fs::rename(&from, root.join(to)),
        }
        .with_context(|| from.display().to_string())?;
    }
    let documents = root.join("usr/share/doc/vmroot");
    fs::write(documents.join("copyright"), copyright(tree)?)?;
    compress(&documents.join("changelog"))?;
    for page in files(&root.join("usr/share/man"))? {
        compress(&page)?;
    }
    write_sums(&root)?;
    fs::write(root.join("DEBIAN/control"), control(target, &root)?)?;
    process::capture(Command::new("chmod").args(["--recursive", "u=rwX,go=rX"]).arg(&root))?;
    let file = directory().join(format!("vmroot_{}_{}.deb", env!("CARGO_PKG_VERSION"), target.architecture));
    let mut build = Command::new("dpkg-deb");
    build.env("SOURCE_DATE_EPOCH", time_of_commit()?);
    process::run(build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&file))?;
    fs::remove_dir_all(&root)?;
    Ok(file)
}

fn control(target: &Target, root: &Path) -> Result<String> {
    let mut bytes = 0;
    for file in files(&root.join("usr"))? {
        bytes += file.metadata()?.len();
    }
    let (version, architecture) = (env!("CARGO_PKG_VERSION"), target.architecture);
    let emulator = if architecture == "arm64" { "qemu-system-arm" } else { "qemu-system-x86" };
    Ok(format!(
        "Package: vmroot\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: The vmroot authors <vmroot@users.noreply.github.com>\nInstalled-Size: {}\n\
         Recommends: ca-certificates, fuse3\nSuggests: {emulator}, squashfs-tools\nSection: admin\nPriority: optional\n\
         Homepage: {}\nDescription: {DESCRIPTION}",
        bytes.div_ceil(1024),
        env!("CARGO_PKG_REPOSITORY"),
    ))
}

fn copyright(tree: &Path) -> Result<String> {
    let mit = fs::read_to_string(tree.join("share/doc/vmroot/LICENSE-MIT"))?;
    Ok(format!(
        "vmroot is licensed under either of the Apache License, version 2.0, or the MIT License, at your option.\n\
         On Debian systems, the text of the Apache License is in /usr/share/common-licenses/Apache-2.0.\n\
         The libraries in the program and their licences are in THIRD-PARTY, in this directory.\n\n{mit}"
    ))
}

/// Writes the list of digests that `dpkg --verify` compares with.
fn write_sums(root: &Path) -> Result<()> {
    let mut sums = Command::new("md5sum");
    sums.current_dir(root);
    for file in files(&root.join("usr"))? {
        sums.arg(file.strip_prefix(root)?);
    }
    Ok(fs::write(root.join("DEBIAN/md5sums"), process::capture(&mut sums)?)?)
}

/// Replaces a file by its gzip, without a name and a time in it.
fn compress(file: &Path) -> Result<()> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&fs::read(file)?)?;
    let mut name = file.as_os_str().to_owned();
    name.push(".gz");
    fs::write(name, gzip.finish()?)?;
    Ok(fs::remove_file(file)?)
}

/// Returns the files of a tree, sorted.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    crate::walk::visit(directory, &mut |path, metadata| {
        if metadata.is_file() {
            files.push(path.to_owned());
        }
        Ok(())
    })?;
    files.sort();
    Ok(files)
}
