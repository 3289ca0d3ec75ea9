//! The documents that the init of a guest reads.
//!
//! The tools on the host write them, and the program `vmroot-init` reads them, both through this crate. Each type has the
//! names of the fields, their defaults and their order. `docs/guest.md` has the tables for users.
//!
//! - [`CONFIG`] in the root: how to run the image's command. It has the fields of [`Process`] and of [`GuestSettings`].
//! - [`STAGE`] in an initramfs: the modules to load and the root to mount, a [`Stage`].
//! - [`UPPER_RECORD`] on a disk that keeps the writes of a guest: the image below them, an [`UpperRecord`].
//!
//! Readers ignore fields that they do not know.

mod config;
mod stage;
mod upper;

pub use config::{CONFIG, GuestNetwork, GuestSettings, MAX_CONFIG, Pid1, Process};
pub use stage::{MAX_STAGE, MODULES, STAGE, Stage, StagePart, StageRoot, StageUpper, StageVerity, StageVolume};
pub use upper::{MAX_UPPER_RECORD, UPPER, UPPER_OPTIONS, UPPER_RECORD, UPPER_WORK, UpperRecord};

/// The path of the init in a guest.
pub const INIT: &str = "/sbin/vmroot-init";
