//! Questions on the terminal, which a signal ends.

use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use vmroot::Cancel;

use crate::display;
use crate::interruptible::CancellableReader;

/// The longest line that is read, in bytes.
const LINE_LIMIT: usize = 1 << 20;

/// The settings of the terminal before it hid the input. A program that ends by a signal restores them.
static SHOWN: Mutex<Option<Termios>> = Mutex::new(None);

/// Asks for a line. The line break at its end is removed. Returns `None` at the end of the input.
pub(crate) fn ask(question: &str, cancel: &Cancel) -> io::Result<Option<String>> {
    display::write_prompt(question);
    // Byte by byte, because a buffer would swallow the next answer.
    let stdin = io::stdin().as_fd().try_clone_to_owned()?.into();
    let mut reader = CancellableReader { source: stdin, cancel: cancel.clone() };
    let (mut line, mut byte) = (Vec::new(), [0]);
    while reader.read(&mut byte)? > 0 {
        if byte[0] == b'\n' || line.len() == LINE_LIMIT {
            return Ok(Some(text_of(line)));
        }
        line.push(byte[0]);
    }
    Ok(Some(line).filter(|line| !line.is_empty()).map(text_of))
}

fn text_of(line: Vec<u8>) -> String {
    String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()
}

/// Asks for a line that the terminal does not show.
pub(crate) fn ask_hidden(question: &str, cancel: &Cancel) -> io::Result<Option<String>> {
    let shown = tcgetattr(io::stdin())?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
    tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
    let line = ask(question, cancel);
    restore();
    line
}

/// Makes the terminal show its input again.
pub(crate) fn restore() {
    if let Some(shown) = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // An error is ignored: the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &shown);
    }
}
