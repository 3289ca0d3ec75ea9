//! Directories of this machine as layers, against the kernel and the model.

mod layer;
