//! ext4 images against the kernel, e2fsck and their like.

mod image;
mod large;
mod sizes;
mod trees;
mod writing;
mod xattrs;
