//! Exports against the model, against GNU tar and cpio, and against what may go wrong.

mod cpio;
mod damage;
mod directory;
mod forged;
mod hostile;
mod layer;
mod output;
mod prebaked;
mod reflink;
mod roots;
mod sparse;
mod tar;
mod unprivileged;
