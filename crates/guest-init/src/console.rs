//! The console: the way to the host, and the terminal of the command.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::stdio;
use rustix::termios::{self, OptionalActions};

use crate::{Error, error, shutdown};

/// What each line of this program begins with; programs on the host look for it.
const MARK: &str = "[vmroot-init]";

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
pub(crate) fn make_raw() {
    if let Ok(mut settings) = termios::tcgetattr(stdio::stdin()) {
        settings.make_raw();
        let _ = termios::tcsetattr(stdio::stdin(), OptionalActions::Now, &settings);
    }
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

/// `[vmroot-init] exit code N`, on a line of its own whatever the command wrote last.
pub(crate) fn exit_code(code: i32) {
    write(&format!("\n{MARK} exit code {code}\n"));
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

/// Whoever reads the console reads by lines, and what an image says must not look like more than one.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
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
}
