//! The console: the connection to the host, and the terminal of the command.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::stdio;
use rustix::termios::{self, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex as Code};

/// The prefix of each line of this program. Programs on the host parse it.
const PREFIX: &str = "[vmroot-init]";

/// The maximum number of bytes of a line's text. The host takes lines of more than 4096 bytes as the command's output.
const MAX_TEXT: usize = 4000;

/// The value that disables a special character (`_POSIX_VDISABLE`).
const DISABLED: u8 = 0;

/// Makes the console the standard input, output and error. If there is none, the files that the kernel opened stay.
pub(crate) fn attach() {
    let flags = OFlags::NOCTTY.bits() as i32;
    let Ok(console) = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/console") else {
        return;
    };
    let _ = stdio::dup2_stdin(&console);
    let _ = stdio::dup2_stdout(&console);
    let _ = stdio::dup2_stderr(&console);
}

/// Sets the console to pass bytes unchanged: no echo, no carriage returns, no signals.
///
/// Input stays line-buffered, because no other mode has an end of input. VEOF (Ctrl-D) is the end, VLNEXT (Ctrl-V)
/// makes the next byte literal, and no other byte is special.
pub(crate) fn set_byte_mode() {
    let Ok(mut settings) = termios::tcgetattr(stdio::stdin()) else { return };
    let (end, literal_next) = (settings.special_codes[Code::VEOF], settings.special_codes[Code::VLNEXT]);
    settings.make_raw();
    settings.input_modes = InputModes::empty();
    settings.local_modes = LocalModes::ICANON | LocalModes::IEXTEN;
    for code in [Code::VERASE, Code::VKILL, Code::VWERASE, Code::VREPRINT, Code::VEOL, Code::VEOL2] {
        settings.special_codes[code] = DISABLED;
    }
    // Raw mode may have put its own numbers into both slots.
    (settings.special_codes[Code::VEOF], settings.special_codes[Code::VLNEXT]) = (end, literal_next);
    let _ = termios::tcsetattr(stdio::stdin(), OptionalActions::Now, &settings);
}

/// Returns whether [`set_byte_mode`] was called.
fn is_byte_mode() -> bool {
    termios::tcgetattr(stdio::stdin()).is_ok_and(|settings| !settings.output_modes.contains(OutputModes::OPOST))
}

/// Waits until the host has received all bytes. Powering off would discard the queue of a UART.
pub(crate) fn drain() {
    let _ = termios::tcdrain(stdio::stderr());
}

/// Writes `[vmroot-init] error: …`.
pub(crate) fn error(error: &impl Display) {
    line(&format!("error: {error}"));
}

/// Writes `[vmroot-init] NAME NANOSECONDS`, for measurements.
pub(crate) fn trace(name: &str, nanoseconds: u64) {
    line(&format!("{name} {nanoseconds}"));
}

/// Writes `[vmroot-init] exit code N` on a line of its own.
///
/// In byte mode no newline is added to the command's output. The kernel's messages are turned off first, so that this
/// is the last line: even a quiet kernel reports the power-off.
pub(crate) fn exit_code(code: i32) {
    let _ = std::fs::write("/proc/sys/kernel/printk", "0\n");
    let newline = if is_byte_mode() { "" } else { "\n" };
    write(&format!("{newline}{PREFIX} exit code {code}\n"));
}

/// Writes a note about a missing feature to the kernel's log, which `quiet` keeps off the console.
pub(crate) fn note(text: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // <4> is a warning (printk). One write is one record.
        let _ = log.write_all(format!("<4>{PREFIX} note: {}\n", one_line(text)).as_bytes());
    }
}

fn line(text: &str) {
    write(&format!("{PREFIX} {}\n", one_line(text)));
}

/// Escapes control characters and limits the length. The host reads the console by lines, and text from an image must
/// not imitate other lines.
fn one_line(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    let mut line: String =
        text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    line.truncate(line.floor_char_boundary(MAX_TEXT));
    line
}

/// Writes text. Errors are ignored, because they could only be reported on the console.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a\n[vmroot-init] exit code 0\r\u{1b}[2J ü"), r"a\n[vmroot-init] exit code 0\r\u{1b}[2J ü");
    }

    #[test]
    fn a_line_is_limited() {
        for text in ["x", "ü", "\n"] {
            let line = one_line(&text.repeat(100_000));
            assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&line.len()), "{} bytes", line.len());
        }
    }
}
