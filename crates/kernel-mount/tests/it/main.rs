//! Real mounts by the kernel, tested with system calls.

mod erofs;
mod fixture;
mod overlay;
mod unmounting;
mod unprivileged;
