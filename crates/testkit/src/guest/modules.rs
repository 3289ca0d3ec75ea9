//! Kernel modules in the order of loading.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Guest;

/// The text before a module's dependencies in its `.modinfo`. They are separated by commas and end with a NUL.
const DEPENDS: &[u8] = b"\0depends=";

impl Guest {
    /// Returns the files of modules and of their dependencies, each after its own dependencies. A name without a file
    /// is taken as built into the kernel.
    ///
    /// # Panics
    /// If a module cannot be read.
    pub fn module_files(&self, names: &[&str]) -> Vec<PathBuf> {
        let mut files = BTreeMap::new();
        find(&self.modules(), &mut files);
        let mut order = Vec::new();
        names.iter().for_each(|name| add(name, &files, &mut order));
        order
    }
}

fn find(directory: &Path, files: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
            files.insert(name, path);
        }
    }
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, order: &mut Vec<PathBuf>) {
    let Some(file) = files.get(&name.replace('-', "_")) else { return };
    if order.contains(file) {
        return;
    }
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let at = bytes.windows(DEPENDS.len()).position(|window| window == DEPENDS).map(|at| at + DEPENDS.len());
    let needs = at.map_or(&[][..], |at| bytes[at..].split(|&byte| byte == 0).next().unwrap_or_default());
    let needs = String::from_utf8_lossy(needs).into_owned();
    needs.split(',').filter(|need| !need.is_empty()).for_each(|need| add(need, files, order));
    order.push(file.clone());
}
