//! The guest's serial console: its input and its output.

mod input;
mod output;
mod terminal;

use std::fmt;
use std::os::fd::BorrowedFd;

pub(crate) use input::{Encoding, forward};
pub(crate) use output::Output;
pub(crate) use terminal::RawTerminal;

/// The input and output of a guest's console.
pub struct Console<'a> {
    /// The input of the guest's command. With `None`, the command reads an immediate end of input.
    pub input: Option<BorrowedFd<'a>>,
    /// Whether `input` is a terminal with a user.
    ///
    /// If so, the terminal becomes raw, and every key except Ctrl-A reaches the guest. Ctrl-A X ends the guest, and
    /// Ctrl-A Ctrl-A sends one Ctrl-A. If not, the input is a stream of bytes with an end.
    pub interactive: bool,
    /// Receives the output of the guest's command.
    pub output: &'a mut dyn std::io::Write,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, interactive, output: _ } = self;
        f.debug_struct("Console").field("input", input).field("interactive", interactive).finish_non_exhaustive()
    }
}
