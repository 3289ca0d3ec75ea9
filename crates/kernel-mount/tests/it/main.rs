//! Real mounts by the kernel, seen through system calls.

mod erofs;
mod fixture;
mod overlay;
mod unmounting;
mod unprivileged;
