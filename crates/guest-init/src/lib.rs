//! The program `vmroot-init`, in a guest whose root is a container image.
//!
//! One static binary with three roles, told apart by how it was started:
//!
//! - PID 1 in the image's root (`pid1`): mounts what programs expect, starts the image's command as its config has it,
//!   reaps, forwards signals, and powers off when the command ends, with the exit code on the console.
//! - PID 1 in an initramfs with a `/vmroot/stage.json` (`initramfs`): loads modules, mounts the root, moves into it and
//!   starts its init.
//! - The child of PID 1 that becomes the command (`command`). It is the program started again, because between fork and
//!   exec no safe code may run, and session, terminal, groups and user are to be set there.
//!
//! The console is the only way to the host: the last lines are `[vmroot-init] exit code N`, after
//! `[vmroot-init] error: …` where something other than the command went wrong. Nothing panics, for a PID 1 that ends is
//! a kernel panic. All that is read is an image's, and hostile: documents have limits, and what is wrong with them is said.

mod command;
mod config;
mod console;
mod devices;
mod document;
mod environment;
mod error;
mod initramfs;
mod kernel;
mod loopback;
mod mounts;
mod pid1;
mod program;
mod shutdown;
mod stage;
mod switch_root;
mod temporary;
mod users;

use std::ffi::OsString;

pub use error::{Error, Result};

/// `argv[0]` of the child that becomes the command.
const COMMAND_ROLE: &str = "vmroot-command";

/// `argv[0]` that a kernel gives to the first program of an initramfs.
const INITRAMFS_PROGRAM: &str = "/init";

/// Plays the role that the process was started for. `arguments` are those of the process, its own name first.
pub fn start(arguments: Vec<OsString>) -> ! {
    console::report_panics();
    let name = arguments.first().cloned().unwrap_or_default();
    let rest = arguments.get(1..).unwrap_or_default();
    let first = rustix::process::getpid().is_init();
    match () {
        () if first && name == INITRAMFS_PROGRAM && stage::is_here() => initramfs::run(rest),
        () if first => pid1::run(&name, rest),
        () if name == COMMAND_ROLE => command::run(rest),
        () => {
            console::error(&Error::NotPid1);
            std::process::exit(error::OWN_FAULT)
        }
    }
}
