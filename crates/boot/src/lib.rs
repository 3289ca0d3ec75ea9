//! Boots a virtual machine from the merged root of an image.
//!
//! A [`Kernel`] has its architecture and version. A [`ModuleTree`] finds the modules that the kernel must load to
//! mount the root. [`Guest::prepare`] builds the root's form ([`Via`]) in a directory, with an initramfs if modules are
//! needed, and describes the [`Machine`]. A [`Vmm`] converts the machine into a command. [`Guest::run`] relays bytes
//! between the guest's serial port and a [`Console`] until the guest has ended, and returns the exit code of its
//! command. [`BuiltMachine`] is for a caller that starts the VMM itself: its command line, or a script for another
//! machine.

mod accelerator;
mod architecture;
mod built;
mod console;
mod disks;
mod error;
mod guest;
mod image_kernel;
mod initramfs;
mod kernel;
mod kvm_record;
mod machine;
mod modules;
mod network;
mod run;
mod script;
mod served;
mod shell;
mod verity;
mod via;
mod vmm;

pub use accelerator::Acceleration;
pub use architecture::Architecture;
pub use built::BuiltMachine;
pub use console::Console;
pub use disks::{DiskFileSystem, LockedDisk, UpperDisk, Volume};
pub use error::{Error, Result};
pub use guest::{Guest, GuestOptions, InitMessages, KvmRecord};
pub use image_kernel::ImageKernel;
pub use kernel::Kernel;
pub use machine::{Accelerator, Disk, DiskFormat, Machine, Share};
pub use modules::{Module, ModuleTree};
pub use network::{Protocol, PublishedPort, UserNetwork};
pub use run::{GuestExit, Stopper};
pub use shell::quote;
pub use via::Via;
pub use vmm::{Vmm, VmmCommand};
