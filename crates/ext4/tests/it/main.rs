//! Checks ext4 images with the kernel, e2fsck and other programs.

mod empty;
mod image;
mod large;
mod sizes;
mod trees;
mod writing;
mod xattrs;
