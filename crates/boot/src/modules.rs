//! Kernel modules: the ones that a root needs, their files, and the order of loading.

mod modinfo;
mod tree;

use std::path::{Path, PathBuf};

pub use tree::ModuleTree;

use modinfo::ModuleInfo;

use crate::{Error, Result};

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The module's name, with underscores.
    pub name: String,
    /// The file of the module.
    pub path: PathBuf,
    /// The decompressed module.
    pub bytes: Vec<u8>,
}

impl ModuleTree {
    /// Returns the modules to load for `names` in the order of loading: each one after its dependencies. Built-in
    /// modules are left out.
    ///
    /// # Errors
    /// - [`Error::MissingModule`] if a module is neither built in nor in the tree.
    /// - [`Error::WrongModule`] if a module is for another kernel.
    /// - [`Error::InvalidModule`], [`Error::Compressed`] or [`Error::Io`] if a module cannot be read.
    pub fn resolve(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut order = LoadOrder { tree: self, loaded: Vec::new(), pending: Vec::new() };
        names.iter().try_for_each(|name| order.add(name))?;
        Ok(order.loaded)
    }
}

/// The modules in the order of loading, as far as it is resolved.
struct LoadOrder<'a> {
    tree: &'a ModuleTree,
    loaded: Vec<Module>,
    /// The path from the requested module to the current one. Each waits for the next.
    pending: Vec<PendingModule>,
}

struct PendingModule {
    module: Module,
    /// The dependencies that are still to be resolved, last first.
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    /// Whether the dependency may be missing. A soft dependency only helps, such as one of several implementations of a
    /// checksum.
    soft: bool,
}

impl LoadOrder<'_> {
    fn add(&mut self, name: &str) -> Result<()> {
        self.enter(&Dependency { name: normalised(name), soft: false })?;
        while let Some(pending) = self.pending.last_mut() {
            match pending.dependencies.pop() {
                Some(dependency) => self.enter(&dependency)?,
                None => self.loaded.extend(self.pending.pop().map(|pending| pending.module)),
            }
        }
        Ok(())
    }

    fn enter(&mut self, dependency: &Dependency) -> Result<()> {
        let name = &dependency.name;
        // A pending module is part of a dependency cycle, which depmod rejects. The kernel reports it on loading.
        let known = self.loaded.iter().chain(self.pending.iter().map(|pending| &pending.module));
        if self.tree.is_builtin(name) || known.into_iter().any(|module| module.name == *name) {
            return Ok(());
        }
        let Some(path) = self.tree.find(name) else {
            return if dependency.soft { Ok(()) } else { Err(self.missing(name)) };
        };
        let bytes = self.tree.read(path)?;
        let info = ModuleInfo::parse(&bytes).map_err(|reason| invalid(path, reason))?;
        self.check_version(path, &info)?;
        let soft = info.soft_dependencies.into_iter().map(|name| Dependency { name, soft: true });
        let hard = info.dependencies.into_iter().map(|name| Dependency { name, soft: false });
        let mut dependencies: Vec<_> = soft.chain(hard).collect();
        dependencies.reverse();
        let module = Module { name: name.clone(), path: path.to_owned(), bytes };
        self.pending.push(PendingModule { module, dependencies });
        Ok(())
    }

    fn check_version(&self, path: &Path, info: &ModuleInfo) -> Result<()> {
        match (self.tree.version(), &info.version) {
            (Some(expected), Some(actual)) if expected != actual => {
                Err(Error::WrongModule { path: path.to_owned(), actual: actual.clone(), expected: expected.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingModule {
            name: name.to_owned(),
            needed_by: self.pending.iter().map(|pending| pending.module.name.clone()).collect(),
            directory: self.tree.directory().to_owned(),
        }
    }
}

fn invalid(path: &Path, reason: &'static str) -> Error {
    Error::InvalidModule { path: path.to_owned(), reason }
}

/// Replaces dashes by underscores: file names may have dashes, but the kernel's names have only underscores.
fn normalised(name: &str) -> String {
    name.replace('-', "_")
}
