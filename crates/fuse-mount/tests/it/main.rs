//! Real mounts, tested with system calls.

mod attributes;
mod directories;
mod files;
mod fixture;
mod permissions;
mod same_as_model;
mod unmounting;
mod unprivileged;
mod xattrs;
