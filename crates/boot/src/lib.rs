//! Boots a guest on the merged root of an image.
//!
//! A [`Kernel`] says what it is for, and [`ModuleTree`] which modules have to be loaded before it can mount a root.
//! [`Guest::prepare`] makes the root into a form ([`Via`]) in a directory, with an initramfs for stage one where there are
//! modules, and a [`Machine`] that is nothing but data, which a [`Vmm`] turns into a command. [`Guest::run`] carries bytes
//! between the guest's serial port and a [`Console`] until the guest is off, and says what its command returned.

mod accelerator;
mod architecture;
mod console;
mod error;
mod guest;
mod initramfs;
mod kernel;
mod kvm_record;
mod machine;
mod modules;
mod run;
mod via;
mod vmm;

pub use accelerator::Acceleration;
pub use architecture::Architecture;
pub use console::Console;
pub use error::{Error, Result};
pub use guest::{Guest, GuestOptions, KvmRecord, Says};
pub use kernel::Kernel;
pub use machine::{Accelerator, Disk, DiskFormat, Machine, Share};
pub use modules::{Module, ModuleTree};
pub use run::{Ended, Stopper};
pub use via::Via;
pub use vmm::{Vmm, VmmCommand};
