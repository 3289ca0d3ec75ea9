//! The module directory of one kernel.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::ByteSlice;
use vmroot_compress::{Decoder, Limits};
use vmroot_container_fs::{ContainerFs, InodeKind};

use super::normalised;
use crate::{Error, Result};

/// The maximum size of a module in bytes. The largest current modules have a few mebibytes.
const MAX_MODULE: u64 = 64 << 20;
/// The maximum depth of the search for modules.
const MAX_DEPTH: usize = 16;

/// The modules of one kernel, in files and built in.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    /// The root with the files, if they are not those of this machine.
    root: Option<Arc<ContainerFs>>,
    directory: PathBuf,
    version: Option<String>,
    files: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
}

impl ModuleTree {
    /// Opens the module directory at or below `directory`, which is `…/lib/modules/VERSION`, `…/lib/modules` or the
    /// root that contains it. `version` is the kernel's release, and selects one of several trees.
    ///
    /// # Errors
    /// - [`Error::NoModules`] if there are no modules, or none for this kernel.
    /// - [`Error::AmbiguousModules`] if there are several trees and `version` is `None`.
    /// - [`Error::Io`] if a directory cannot be read.
    pub fn open(directory: &Path, version: Option<&str>) -> Result<Self> {
        let directory = locate(directory, version)?;
        let mut files = HashMap::new();
        index(&directory, &mut files)?;
        let builtin = match fs::read_to_string(directory.join("modules.builtin")) {
            Ok(list) => builtin_names(&list),
            Err(_) => HashSet::new(),
        };
        Ok(Self { root: None, directory, version: version.map(str::to_owned), files, builtin })
    }

    /// Opens the modules that an image has for a kernel, below `/usr/lib/modules` or `/lib/modules`.
    ///
    /// # Errors
    /// - [`Error::NoModules`] if there are none for this kernel.
    /// - [`Error::Root`] if the root cannot be read.
    pub fn of_image(root: &Arc<ContainerFs>, version: &str) -> Result<Self> {
        let parents = ["/usr/lib/modules", "/lib/modules"].map(|parent| PathBuf::from(parent).join(version));
        let none = || Error::NoModules { path: parents[0].clone(), kernel: Some(version.to_owned()) };
        // A version is one name.
        let is_name = !version.contains('/') && version != "..";
        let found = parents.iter().filter(|_| is_name).find_map(|path| {
            let found = root.resolve_path(path.as_os_str().as_bytes()).ok()?;
            Some((path.clone(), found.ino))
        });
        let (directory, start) = found.ok_or_else(none)?;
        let mut files = HashMap::new();
        for entry in root.walk_below(start) {
            let Some(name) = entry.name().to_str().ok().and_then(module_name) else { continue };
            let path = OsStr::from_bytes(entry.path.as_ref());
            if entry.kind == InodeKind::Regular {
                insert(&mut files, &directory, name, directory.join(path));
            }
        }
        let builtin = match root.read(directory.join("modules.builtin").as_os_str().as_bytes()) {
            Ok(list) => builtin_names(&String::from_utf8_lossy(&list)),
            Err(_) => HashSet::new(),
        };
        Ok(Self { root: Some(Arc::clone(root)), directory, version: Some(version.to_owned()), files, builtin })
    }

    /// Reads and decompresses a module.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        match &self.root {
            Some(root) => decompress(root.open(path.as_os_str().as_bytes())?, path),
            None => decompress(File::open(path).map_err(Error::io("open", path))?, path),
        }
    }

    /// Returns the directory `…/lib/modules/VERSION`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the kernel's release, if known.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns whether a module is built into the kernel.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&normalised(name))
    }

    /// Returns whether a module has a file.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Returns the file of a module.
    pub(super) fn find(&self, name: &str) -> Option<&Path> {
        self.files.get(&normalised(name)).map(PathBuf::as_path)
    }
}

fn locate(directory: &Path, version: Option<&str>) -> Result<PathBuf> {
    let none = || Error::NoModules { path: directory.to_owned(), kernel: version.map(str::to_owned) };
    if is_tree(directory) {
        return Ok(directory.to_owned());
    }
    fs::metadata(directory).map_err(Error::io("read modules of", directory))?;
    let parents = ["", "lib/modules", "usr/lib/modules"].map(|below| directory.join(below));
    if let Some(version) = version {
        return parents.iter().map(|parent| parent.join(version)).find(|tree| is_tree(tree)).ok_or_else(none);
    }
    for parent in parents {
        let Ok(entries) = fs::read_dir(&parent) else { continue };
        let mut trees: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_tree(path)).collect();
        trees.sort();
        if trees.len() > 1 {
            let name = |tree: &PathBuf| tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Error::AmbiguousModules { path: parent, versions: trees.iter().map(name).collect() });
        }
        if let Some(tree) = trees.pop() {
            return Ok(tree);
        }
    }
    Err(none())
}

/// Returns whether a directory is the result of `make modules_install`.
fn is_tree(directory: &Path) -> bool {
    ["modules.builtin", "modules.order", "kernel"].iter().any(|name| directory.join(name).exists())
}

/// Indexes every module below a directory. If a name occurs twice, the one below `updates` takes precedence, as in
/// depmod.d(5).
fn index(top: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    let mut directories = vec![(top.to_owned(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(Error::io("list", &directory))? {
            let entry = entry.map_err(Error::io("list", &directory))?;
            let kind = entry.file_type().map_err(Error::io("look at", entry.path()))?;
            // Symlinks are not followed: `build` and `source` lead to whole source trees.
            if kind.is_dir() && depth < MAX_DEPTH {
                directories.push((entry.path(), depth + 1));
            } else if let Some(name) = entry.file_name().to_str().and_then(module_name) {
                insert(files, top, name, entry.path());
            }
        }
    }
    Ok(())
}

/// Adds a module below `top`, unless one of `updates` has its name.
fn insert(files: &mut HashMap<String, PathBuf>, top: &Path, name: String, path: PathBuf) {
    if files.get(&name).is_none_or(|other| !other.starts_with(top.join("updates"))) {
        files.insert(name, path);
    }
}

/// Returns the names in `modules.builtin`.
fn builtin_names(list: &str) -> HashSet<String> {
    list.lines().filter_map(|line| module_name(line.rsplit('/').next()?)).collect()
}

/// Returns the name of the module in a file of this name.
fn module_name(file: &str) -> Option<String> {
    let (name, compression) = file.split_once(".ko")?;
    ["", ".gz", ".xz", ".zst"].contains(&compression).then(|| normalised(name))
}

/// Reads and decompresses the file of a module.
fn decompress(file: impl Read, path: &Path) -> Result<Vec<u8>> {
    let decoding = |source| Error::Compressed { path: path.to_owned(), source };
    let limits = Limits { max_output: MAX_MODULE, ..Limits::default() };
    let mut bytes = Vec::new();
    let decoder = Decoder::new(file, &limits).map_err(decoding)?;
    decoder.take(MAX_MODULE + 1).read_to_end(&mut bytes).map_err(|error| decoding(error.into()))?;
    if bytes.len() as u64 > MAX_MODULE {
        return Err(decoding(vmroot_compress::Error::OutputLimit { limit: MAX_MODULE }));
    }
    Ok(bytes)
}
