//! The guest's serial console: what the guest says to us in it, and what we say to the guest.

mod input;
mod output;
mod terminal;

use std::os::fd::BorrowedFd;

pub(crate) use input::{Encoding, forward};
pub(crate) use output::Output;
pub(crate) use terminal::RawTerminal;

/// Where a guest's console goes.
pub struct Console<'a> {
    /// What the guest's command reads; nothing means that it finds its input at the end.
    pub input: Option<BorrowedFd<'a>>,
    /// Whether `input` is a terminal at which somebody sits. It is made raw, so that every key but Ctrl-A reaches the
    /// guest; Ctrl-A X ends the guest, and Ctrl-A twice is Ctrl-A. Otherwise the input is bytes, with an end.
    pub interactive: bool,
    /// Gets what the guest's command writes.
    pub output: &'a mut dyn std::io::Write,
}
