//! Reading a directory of this machine for an image.
//!
//! The owner of the directory may be an adversary and change it during the walk: for example, the upper directory of an
//! overlay belongs to its container. So no path is resolved twice, and no symbolic link is followed. Each directory is
//! opened beneath its parent, each file by a single name, and attributes are read from the descriptor.

mod attributes;
mod walk;

pub use walk::{HostEntry, HostFile, HostWalk};
