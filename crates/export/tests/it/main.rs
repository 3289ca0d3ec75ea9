//! Exports against the model, against GNU tar and cpio, and against what may go wrong.

mod cpio;
mod damage;
mod directory;
mod forged;
mod hostile;
mod prebaked;
mod reflink;
mod sparse;
mod squashfs;
mod tar;
mod unprivileged;
