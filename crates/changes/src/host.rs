//! A directory of this machine, read to be put into an image.
//!
//! Whoever owns what is read may change it meanwhile, and may not be whom the reader works for: the upper directory of
//! an overlay is its container's to write. So no path is looked up twice, and none leads through a link: each directory is
//! opened beneath the one it lies in, each file by one name, and what is said of it is said of its descriptor.

mod attributes;
mod walk;

pub use walk::{HostEntry, HostWalk};
