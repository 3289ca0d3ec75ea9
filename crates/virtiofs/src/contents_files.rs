//! Descriptors of the contents files for reads into guest memory.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmroot_container_fs::ContainerFs;

/// Idle descriptors of each contents file.
///
/// The library needs each file as `&mut`, although it reads at offsets, and the files of the root are shared. So each
/// reader takes a duplicate and returns it for the next reader. There are never more duplicates than concurrent
/// readers.
pub(crate) struct ContentsFiles {
    idle: Vec<Mutex<Vec<File>>>,
}

impl ContentsFiles {
    pub(crate) fn new(root: &ContainerFs) -> Self {
        Self { idle: root.contents().map(|_| Mutex::default()).collect() }
    }

    /// Calls `read` with a descriptor of the contents file `number`.
    pub(crate) fn with_file<T>(
        &self,
        root: &ContainerFs,
        number: u32,
        read: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let idle = &self.idle[number as usize];
        let taken = lock(idle).pop();
        let mut file = taken.map_or_else(|| root.contents_file(number).file.try_clone(), Ok)?;
        let result = read(&mut file);
        lock(idle).push(file);
        result
    }
}

fn lock(idle: &Mutex<Vec<File>>) -> MutexGuard<'_, Vec<File>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
