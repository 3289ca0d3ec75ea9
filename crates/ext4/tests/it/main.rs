//! Checks ext4 images with the kernel, e2fsck and other programs.

mod empty;
mod growing;
mod hostile;
mod image;
mod large;
mod reading;
mod replaying;
mod sizes;
mod trees;
mod writing;
mod xattrs;
