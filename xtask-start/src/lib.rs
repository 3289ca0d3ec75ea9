//! The start of `cargo xtask`: everything that needs no other crate.
//!
//! `cargo xtask TASK` builds this package first, which takes a second. It prints what the task does, and then builds
//! the package `xtask` with cargo's progress shown, or runs the task itself if the task needs no other crate.

pub mod demo;
pub mod error;
pub mod guest;
pub mod process;
pub mod setup;
pub mod tasks;
pub mod workspace;
