//! The digests of the blocks of layers' contents, for hash trees of dm-verity.
//!
//! They are written when a hash tree needs them for the first time, and not by a pull: most images never get a hash tree,
//! and hashing costs a pull a third of a second for each gigabyte on a core that has other work.

use std::fs::File;
use std::io;
use std::path::Path;

use vmroot_cache::PUBLISHED_MODE;
use vmroot_container_fs::{ContainerFs, Contents};
use vmroot_output::{Hook, TemporaryFile, WriteProgress, directory_of};
use vmroot_verity::{Error as TreeError, KeptLeaves, Leaves, Options, Parameters};

use crate::{Error, Result, Store};

impl Store {
    /// Returns the digests of the blocks of a root's contents files. Those that no cache has are computed and kept in the
    /// own cache, beside the contents.
    ///
    /// Files without digests are left out: those outside of a cache, and those whose digests cannot be kept.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn leaves(&self, root: &ContainerFs) -> Result<KeptLeaves> {
        let mut kept = KeptLeaves::default();
        for contents in root.contents().filter(|contents| contents.length > 0 && self.is_in_cache(contents)) {
            if let Some(leaves) =
                self.find_leaves(contents).map_or_else(|| self.keep_leaves(contents), |it| Ok(Some(it)))?
            {
                kept.insert(contents.path.clone(), leaves);
            }
        }
        Ok(kept)
    }

    /// Returns whether a file is the contents of a layer in the own cache or in a shared one.
    fn is_in_cache(&self, contents: &Contents) -> bool {
        self.caches().any(|cache| cache.layout().layer_contents(&contents.diff_id) == contents.path)
    }

    /// Opens the digests in the first cache that has them undamaged.
    fn find_leaves(&self, contents: &Contents) -> Option<Leaves> {
        let parameters = Parameters::default();
        self.caches().find_map(|cache| {
            let leaves = Leaves::open(File::open(cache.layout().layer_leaves(&contents.diff_id)).ok()?).ok()?;
            let is_it = leaves.count() == contents.length / u64::from(parameters.data_block);
            (is_it && leaves.are_for(&parameters)).then_some(leaves)
        })
    }

    /// Computes the digests, and keeps them.
    fn keep_leaves(&self, contents: &Contents) -> Result<Option<Leaves>> {
        let path = self.cache.layout().layer_leaves(&contents.diff_id);
        match self.write_leaves(contents, &path) {
            Ok(leaves) => Ok(Some(leaves)),
            Err(TreeError::Cancelled(_)) => Err(Error::Cancelled),
            Err(error) => {
                // The tree is computed from the contents then.
                tracing::debug!("{}: {}", path.display(), vmroot_errors::with_causes(&error));
                Ok(None)
            }
        }
    }

    fn write_leaves(&self, contents: &Contents, path: &Path) -> vmroot_verity::Result<Leaves> {
        let failed = |error: vmroot_output::Error| TreeError::Tree(error.source);
        let file = TemporaryFile::create_in(directory_of(path), 0o600).map_err(failed)?;
        let cancel = |_: WriteProgress| self.options.cancel.control_flow();
        let options = Options { hook: Some(Hook::new(&cancel)), ..Options::default() };
        let to = file.file().try_clone().map_err(TreeError::Tree)?;
        let leaves = Leaves::create(&contents.file, contents.length, to, &Parameters::default(), &options)?;
        file.publish(path, Some(PUBLISHED_MODE)).map_err(failed)?;
        Ok(leaves)
    }
}

/// Returns the fault of a file of digests that should be those of the file `contents`. `None` if it has none.
pub(crate) fn fault(path: &Path, contents: &Path, options: &Options<'_>) -> Result<Option<String>> {
    let open = |path: &Path| File::open(path).map_err(vmroot_output::Error::on("open", path));
    let of_tree = |error| match error {
        TreeError::Cancelled(_) => Error::Cancelled,
        TreeError::Image(source) => vmroot_output::Error::on("read", contents)(source).into(),
        error => vmroot_output::Error::on("read", path)(io::Error::other(error)).into(),
    };
    let leaves = match Leaves::open(open(path)?) {
        Ok(leaves) => leaves,
        Err(TreeError::NotLeaves) => return Ok(Some("is damaged".to_owned())),
        Err(error) => return Err(of_tree(error)),
    };
    let contents_file = open(contents)?;
    let length = contents_file.metadata().map_err(vmroot_output::Error::on("stat", contents))?.len();
    let is_whole = leaves.verify(&contents_file, length, options).map_err(of_tree)?;
    Ok((!is_whole).then(|| "has digests of other contents".to_owned()))
}
