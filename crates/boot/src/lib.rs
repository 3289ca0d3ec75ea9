//! Boots a guest on the merged root of an image.

mod accelerator;
mod architecture;
mod console;
mod error;
mod initramfs;
mod kernel;
mod machine;
mod modules;
mod run;
mod vmm;

pub use accelerator::Acceleration;
pub use architecture::Architecture;
pub use console::Console;
pub use error::{Error, Result};
pub use initramfs::{Stage, StageRoot, write_initramfs};
pub use kernel::Kernel;
pub use machine::{Accelerator, Disk, DiskFormat, Machine, Share};
pub use modules::{Module, ModuleTree};
pub use run::{Ended, Stopper};
pub use vmm::{Vmm, VmmCommand};
