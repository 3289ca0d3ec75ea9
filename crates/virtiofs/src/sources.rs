//! The contents files, as the library that reads from them into guest memory wants them.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmroot_container_fs::ContainerFs;

/// Descriptors of each contents file that nobody reads from at this moment.
///
/// The library wants a file for itself, as `&mut`, although it reads at offsets. Those of the root are shared, so each
/// reader takes a duplicate, and gives it back for the next: there are never more than there were readers at once.
pub(crate) struct Sources {
    idle: Vec<Mutex<Vec<File>>>,
}

impl Sources {
    pub(crate) fn new(root: &ContainerFs) -> Self {
        Self { idle: root.contents().map(|_| Mutex::default()).collect() }
    }

    /// Lends the contents file `number` of the root.
    pub(crate) fn lend<T>(
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
