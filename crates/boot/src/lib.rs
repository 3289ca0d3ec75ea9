//! Boots a guest on the merged root of an image.

mod accelerator;
mod architecture;
mod console;
mod error;
mod guest;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod run;
mod via;
mod vmm;

pub use accelerator::Acceleration;
pub use architecture::Architecture;
pub use console::Console;
pub use error::{Error, Result};
pub use guest::{Guest, GuestOptions};
pub use kernel::Kernel;
pub use machine::{Accelerator, Disk, DiskFormat, Machine, Share};
pub use modules::{Module, ModuleTree};
pub use run::{Ended, Stopper};
pub use via::Via;
pub use vmm::{Vmm, VmmCommand};
