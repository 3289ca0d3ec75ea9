//! EROFS, the kernel's read-only file system (`Documentation/filesystems/erofs.rst`).

mod format;
