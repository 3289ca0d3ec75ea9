//! Exports compared with the model, with GNU tar and cpio, and under hostile conditions.

mod cpio;
mod damage;
mod diff;
mod directory;
mod forged;
mod hostile;
mod prebaked;
mod reflink;
mod sparse;
mod squashfs;
mod tar;
mod unprivileged;
