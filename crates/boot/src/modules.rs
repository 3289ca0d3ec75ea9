//! Kernel modules: which ones a root needs, where they are, and in which order they are loaded.

mod modinfo;
mod tree;

use std::path::{Path, PathBuf};

pub use tree::ModuleTree;

use modinfo::ModuleInfo;

use crate::{Error, Result};

/// A module, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The file it is from.
    pub path: PathBuf,
    /// The module itself, decompressed.
    pub bytes: Vec<u8>,
}

impl ModuleTree {
    /// The modules that have to be loaded for `names`, in the order of loading: what a module depends on comes first,
    /// what is built in is left out.
    ///
    /// # Errors
    /// [`Error::MissingModule`] for one that is neither built in nor there, [`Error::WrongModule`] for one of another
    /// kernel, and what reading them says.
    pub fn resolve(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut order = Order { tree: self, loaded: Vec::new(), open: Vec::new() };
        names.iter().try_for_each(|name| order.add(name))?;
        Ok(order.loaded)
    }
}

/// Modules in the order of loading, as far as it is known.
struct Order<'a> {
    tree: &'a ModuleTree,
    loaded: Vec<Module>,
    /// From the one that was asked for to the one that is looked at now, each waiting for the next.
    open: Vec<Waiting>,
}

struct Waiting {
    module: Module,
    /// What it needs and was not looked at yet, last first.
    needs: Vec<Need>,
}

struct Need {
    name: String,
    /// A soft dependency may be missing: it helps, as one of several makers of a checksum does.
    soft: bool,
}

impl Order<'_> {
    fn add(&mut self, name: &str) -> Result<()> {
        self.enter(&Need { name: normalised(name), soft: false })?;
        while let Some(waiting) = self.open.last_mut() {
            match waiting.needs.pop() {
                Some(need) => self.enter(&need)?,
                None => self.loaded.extend(self.open.pop().map(|waiting| waiting.module)),
            }
        }
        Ok(())
    }

    fn enter(&mut self, need: &Need) -> Result<()> {
        let name = &need.name;
        // One that waits already would be a circle, which depmod refuses; the kernel says what comes of it.
        let known = self.loaded.iter().chain(self.open.iter().map(|waiting| &waiting.module));
        if self.tree.is_builtin(name) || known.into_iter().any(|module| module.name == *name) {
            return Ok(());
        }
        let Some(path) = self.tree.find(name) else {
            return if need.soft { Ok(()) } else { Err(self.missing(name)) };
        };
        let bytes = tree::read(path)?;
        let info = ModuleInfo::parse(&bytes).map_err(|reason| invalid(path, reason))?;
        self.check_version(path, &info)?;
        let soft = info.soft_dependencies.into_iter().map(|name| Need { name, soft: true });
        let hard = info.dependencies.into_iter().map(|name| Need { name, soft: false });
        let mut needs: Vec<_> = soft.chain(hard).collect();
        needs.reverse();
        let module = Module { name: name.clone(), path: path.to_owned(), bytes };
        self.open.push(Waiting { module, needs });
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
            needed_by: self.open.iter().map(|waiting| waiting.module.name.clone()).collect(),
            directory: self.tree.directory().to_owned(),
        }
    }
}

fn invalid(path: &Path, reason: &'static str) -> Error {
    Error::InvalidModule { path: path.to_owned(), reason }
}

/// Files may be named with dashes; the kernel knows underscores only.
fn normalised(name: &str) -> String {
    name.replace('-', "_")
}
