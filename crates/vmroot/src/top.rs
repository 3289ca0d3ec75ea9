//! Layers and files on top of an image's root, stored in a client's cache.

use std::sync::Arc;

use vmroot_changes::{ExtendedRoot, Top, TopProgress};
use vmroot_container_fs::ContainerFs;

use crate::{Client, Result, Work, WorkProgress};

impl Client {
    /// Puts layers and files on top of a root, within the client's limits. Temporary files are in the cache's
    /// directory. The receiver of the client's progress gets [`Work::PutOnTop`].
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::{Addition, Top};
    ///
    /// let root = client.root(&client.pull("oci:../../testdata/demo:demo")?)?;
    /// let motd = Addition::File { destination: b"/etc/motd".to_vec(), mode: 0o644, bytes: b"hello\n".to_vec() };
    /// let on_top = client.put_on_top(root, &Top { additions: vec![motd], ..Top::default() })?;
    /// let file = on_top.root().resolve_path(b"/etc/motd")?;
    /// assert_eq!(on_top.root().stat(file.ino).size, 6);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Top::put_on`].
    pub fn put_on_top(&self, root: ContainerFs, top: &Top) -> Result<ExtendedRoot> {
        let progress = Arc::clone(&self.progress);
        let report = move |done: TopProgress| {
            progress.work(&WorkProgress::new(Work::PutOnTop, done.bytes, done.total_bytes));
        };
        Ok(top.put_on_with_progress(root, &self.top_options(), Arc::new(report))?)
    }
}
