//! Directories of this machine as layers, checked with overlayfs marks and the model.

mod disk;
mod layer;
