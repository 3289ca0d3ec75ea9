//! Disk images against the model, the kernel, and the programs that check file systems.

mod erofs;
mod ext4;
mod mounts;
mod roots;
mod squashfs;
