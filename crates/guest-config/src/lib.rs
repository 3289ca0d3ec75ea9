//! The documents that the init of a guest reads.
//!
//! The tools on the host write them, and the program `vmroot-init` reads them, both through this crate. Each type has the
//! names of the fields, their defaults and their order. `docs/guest.md` has the tables for users.
//!
//! - [`CONFIG`] in the root: how to run the image's command. It has the fields of [`Process`] and of [`GuestSettings`].
//! - [`STAGE`] in an initramfs: the modules to load and the root to mount, a [`Stage`].
//!
//! Readers ignore fields that they do not know.

mod config;
mod stage;

pub use config::{CONFIG, GuestSettings, MAX_CONFIG, Process};
pub use stage::{MAX_STAGE, MODULES, STAGE, Stage, StagePart, StageRoot, StageVerity};

/// The path of the init in a guest.
pub const INIT: &str = "/sbin/vmroot-init";
