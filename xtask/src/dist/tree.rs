//! The tree of the tarball. It has the layout of `/usr/local`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{Target, licences};
use crate::{process, workspace};

/// The completions: the shell, and the file below `share` where the shell looks for them.
pub const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/vmroot"),
    ("zsh", "zsh/site-functions/_vmroot"),
    ("fish", "fish/vendor_completions.d/vmroot.fish"),
];

/// Documents of the checkout. `docs` is copied with everything in it.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "docs"];

/// Writes the tree to a new directory.
pub fn write(target: &Target, tree: &Path) -> Result<()> {
    let program = tree.join("bin/vmroot");
    for directory in ["bin", "share/man", "share/doc/vmroot"] {
        fs::create_dir_all(tree.join(directory)).with_context(|| tree.join(directory).display().to_string())?;
    }
    fs::copy(target.program(), &program).with_context(|| program.display().to_string())?;
    pages(&program, &tree.join("share/man"))?;
    for (shell, name) in COMPLETIONS {
        let file = tree.join("share").join(name);
        fs::create_dir_all(file.parent().unwrap_or(tree))?;
        fs::write(&file, process::capture(Command::new(&program).args(["completions", shell]))?)?;
    }
    let documents = tree.join("share/doc/vmroot");
    let mut copy = Command::new("cp");
    copy.arg("--recursive").args(DOCUMENTS.map(|name| workspace::root().join(name))).arg(&documents);
    process::capture(&mut copy)?;
    fs::write(documents.join("THIRD-PARTY"), licences::text(target)?)?;
    // The caller's umask must not get into the package.
    process::capture(Command::new("chmod").args(["--recursive", "u=rwX,go=rX"]).arg(tree)).map(|_| ())
}

/// Writes the man pages, each into the directory of its section.
fn pages(program: &Path, directory: &Path) -> Result<()> {
    process::capture(Command::new(program).arg("man").arg(directory))?;
    for entry in fs::read_dir(directory)? {
        let page = entry?.path();
        let Some(section) = page.extension().filter(|_| page.is_file()) else { continue };
        let section = directory.join(format!("man{}", section.to_string_lossy()));
        fs::create_dir_all(&section)?;
        fs::rename(&page, section.join(page.file_name().context("a page has a name")?))?;
    }
    Ok(())
}
