//! The console: the way to the host, and the terminal of the command.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::stdio;
use rustix::termios::{self, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex as Code};

use crate::{Error, error, shutdown};

/// What each line of this program begins with; programs on the host look for it.
const MARK: &str = "[vmroot-init]";

/// The most bytes of what a line says: the host takes one of more than 4096 for the command's.
const MAX_TEXT: usize = 4000;

/// What takes its meaning from a special character (`_POSIX_VDISABLE`).
const DISABLED: u8 = 0;

/// Makes the console standard input, output and error. Where there is none, what the kernel opened stays.
pub(crate) fn attach() {
    let flags = OFlags::NOCTTY.bits() as i32;
    let Ok(console) = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/console") else {
        return;
    };
    let _ = stdio::dup2_stdin(&console);
    let _ = stdio::dup2_stdout(&console);
    let _ = stdio::dup2_stderr(&console);
}

/// Makes the console carry bytes as they are: no echo, no carriage returns, no signals.
///
/// Input stays line by line, for otherwise it could have no end: VEOF (Ctrl-D) is the end, VLNEXT (Ctrl-V) takes the
/// meaning from the byte that follows, and no other byte has one.
pub(crate) fn make_plain() {
    let Ok(mut settings) = termios::tcgetattr(stdio::stdin()) else { return };
    let (end, literally) = (settings.special_codes[Code::VEOF], settings.special_codes[Code::VLNEXT]);
    settings.make_raw();
    settings.input_modes = InputModes::empty();
    settings.local_modes = LocalModes::ICANON | LocalModes::IEXTEN;
    for code in [Code::VERASE, Code::VKILL, Code::VWERASE, Code::VREPRINT, Code::VEOL, Code::VEOL2] {
        settings.special_codes[code] = DISABLED;
    }
    // In the slots of both the raw mode may have put its own numbers.
    (settings.special_codes[Code::VEOF], settings.special_codes[Code::VLNEXT]) = (end, literally);
    let _ = termios::tcsetattr(stdio::stdin(), OptionalActions::Now, &settings);
}

/// Whether [`make_plain`] has been here.
fn is_plain() -> bool {
    termios::tcgetattr(stdio::stdin()).is_ok_and(|settings| !settings.output_modes.contains(OutputModes::OPOST))
}

/// Waits until the host has seen everything: a UART has a queue, which a power-off forgets.
pub(crate) fn drain() {
    let _ = termios::tcdrain(stdio::stderr());
}

/// `[vmroot-init] error: …`
pub(crate) fn error(error: &Error) {
    line(&format!("error: {error}"));
}

/// `[vmroot-init] NAME NANOSECONDS`, for measuring.
pub(crate) fn moment(name: &str, nanoseconds: u64) {
    line(&format!("{name} {nanoseconds}"));
}

/// `[vmroot-init] exit code N`, on a line of its own whatever the command wrote last; but where bytes are carried as they
/// are, none is added to them. It is the last line: a kernel says even when it is quiet that it powers off.
pub(crate) fn exit_code(code: i32) {
    let _ = std::fs::write("/proc/sys/kernel/printk", "0\n");
    let newline = if is_plain() { "" } else { "\n" };
    write(&format!("{newline}{MARK} exit code {code}\n"));
}

/// Something that is not as it could be: a line of the kernel's log, which `quiet` keeps off the console.
pub(crate) fn note(text: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // <4> is a warning (printk). One write is one record.
        let _ = log.write_all(format!("<4>{MARK} note: {}\n", one_line(text)).as_bytes());
    }
}

/// A panic of PID 1 would be one of the kernel: says what happened, and powers off as after any other error.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        line(&format!("error: {panic}"));
        if rustix::process::getpid().is_init() {
            shutdown::end(error::OWN_FAULT, false);
        }
        std::process::exit(error::OWN_FAULT);
    }));
}

fn line(text: &str) {
    write(&format!("{MARK} {}\n", one_line(text)));
}

/// Whoever reads the console reads by lines, and what an image says must not look like more than one, nor like none.
fn one_line(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    let mut line: String =
        text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    line.truncate(line.floor_char_boundary(MAX_TEXT));
    line
}

/// There is nobody to tell that the console cannot be written to.
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
    fn a_line_has_an_end() {
        for text in ["x", "ü", "\n"] {
            let line = one_line(&text.repeat(100_000));
            assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&line.len()), "{} bytes", line.len());
        }
    }
}
