//! The program `vmroot-init`, the init of a guest whose root is a container image.
//!
//! The static binary has three roles, and selects one by the way in which it was started:
//!
//! - PID 1 in the image's root (`pid1`): mounts the file systems that programs expect, starts the image's command
//!   according to its config, reaps processes, forwards signals, and powers off when the command ends, after writing
//!   the exit code to the console.
//! - PID 1 in an initramfs with a `/vmroot/stage.json` (`initramfs`): loads modules, mounts the root, switches to it
//!   and starts its init.
//! - The child of PID 1 that becomes the command (`command`). It sets its session, terminal, groups and user. PID 1
//!   starts the program again for this, because no safe code can run between fork and exec. A command that is an init
//!   replaces PID 1, or is the first process of a PID namespace.
//!
//! The console is the only connection to the host. The last lines are `[vmroot-init] exit code N`, preceded by
//! `[vmroot-init] error: …` if something other than the command failed. The program avoids panics, because the end of
//! PID 1 is a kernel panic. All files it reads come from an image and are untrusted: they have size limits, and faults
//! in them are reported.

mod command;
mod config;
mod console;
mod device_mapper;
mod devices;
mod document;
mod environment;
mod error;
mod initramfs;
mod kernel;
mod mount_point;
mod mounts;
mod names;
mod netlink;
mod network;
mod overlay;
mod panic;
mod pid1;
mod program;
mod shutdown;
mod switch_root;
mod temporary;
mod users;
mod verity;
mod volumes;
mod wrong_block;

use std::ffi::OsString;

pub use error::{Error, Result};

/// `argv[0]` of the child that becomes the command.
const COMMAND_ROLE: &str = "vmroot-command";

/// `argv[0]` that the kernel gives to the first program of an initramfs.
const INITRAMFS_PROGRAM: &str = "/init";

/// Runs in the role that the process was started for. `arguments` are those of the process, including its own name.
pub fn start(arguments: Vec<OsString>) -> ! {
    panic::report_panics();
    let name = arguments.first().cloned().unwrap_or_default();
    let rest = arguments.get(1..).unwrap_or_default();
    let first = rustix::process::getpid().is_init();
    match () {
        // The command may be the first process of a PID namespace.
        () if name == COMMAND_ROLE => command::run(rest),
        () if first && name == INITRAMFS_PROGRAM && initramfs::has_instructions() => initramfs::run(rest),
        () if first => pid1::run(&name, rest),
        () => {
            console::error(&Error::NotPid1);
            std::process::exit(error::OWN_FAULT)
        }
    }
}
