//! The output of the guest's console: separates the command's bytes from the init's lines.
//!
//! `vmroot-init` begins its lines with `[vmroot-init] `. The lines `stage N`, `start N` and `exec N` (nanoseconds since
//! the guest's boot) precede the command's first byte; `error: …` and `exit code N` follow its last. The command writes
//! to the same console and may imitate these lines. Therefore a line counts as the init's only if no other bytes
//! follow.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

/// The prefix of every line of the init.
const PREFIX: &[u8] = b"[vmroot-init] ";
/// The maximum length of an init line in bytes. Longer lines belong to the command.
const MAX_LINE: usize = 4096;
/// The maximum number of bytes that the init writes after the command's last byte: an error, an exit code, and line
/// ends.
const MAX_HELD: usize = 2 * MAX_LINE;
/// The number of bytes of the console's end that an error shows.
const TAIL: usize = 2048;
/// The maximum number of lines that an error shows.
const TAIL_LINES: usize = 15;

/// Parses the console's bytes.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The beginning of a possible init line.
    line: Vec<u8>,
    /// Init lines that become output if other bytes follow.
    held: Vec<u8>,
    tail: VecDeque<u8>,
    /// The start of the init, in the guest's time since boot.
    pub(crate) started: Option<Duration>,
    /// The start of the command, in the guest's time since boot.
    pub(crate) executed: Option<Duration>,
    /// The exit code of the command.
    pub(crate) code: Option<u8>,
    /// The reason why no command ran.
    pub(crate) error: Option<String>,
}

impl Output {
    /// Parses `bytes` and writes the command's output to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut passed = Vec::with_capacity(bytes.len());
        // In reverse order, so that bytes that turn out to be no init line can be pushed back.
        let mut coming: Vec<u8> = bytes.iter().rev().copied().collect();
        while let Some(byte) = coming.pop() {
            if !self.held.is_empty() && self.line.is_empty() && matches!(byte, b'\r' | b'\n') {
                // On a terminal, the init begins a new line first.
                self.held.push(byte);
            } else {
                self.line.push(byte);
                if !self.may_be_of_init() {
                    passed.append(&mut self.held);
                    passed.push(self.line[0]);
                    coming.extend(self.line.drain(..).skip(1).rev());
                }
            }
            if self.held.len() > MAX_HELD {
                // The memory is limited even if a guest repeats such lines endlessly.
                passed.append(&mut self.held);
            }
        }
        self.pass(&passed, out)
    }

    /// Returns whether bytes are held back until more follow.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.line.is_empty() && self.line.len() < PREFIX.len()
    }

    /// Writes the bytes that were held back. They are a prompt, since no more bytes followed.
    pub(crate) fn release(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.pass(&line, out)
    }

    /// Handles the end of the console.
    pub(crate) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.release(out)
    }

    /// Returns the last lines of the console.
    pub(crate) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Returns whether the current line may be the init's. A whole line is parsed.
    fn may_be_of_init(&mut self) -> bool {
        let line = &self.line[..];
        let whole = line.ends_with(b"\n");
        match line.len() {
            length if length <= PREFIX.len() => PREFIX.starts_with(line),
            _ if whole => self.line_of_init(),
            length => length < MAX_LINE,
        }
    }

    /// Parses a whole line. Returns `false` if it is not an init line.
    fn line_of_init(&mut self) -> bool {
        let text = String::from_utf8_lossy(&self.line[PREFIX.len()..]).trim_end().to_owned();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let time = || rest.parse().ok().map(Duration::from_nanos);
        match word {
            // Lines before the command cannot be its output, so they are not held.
            "stage" if self.executed.is_none() && time().is_some() => {}
            "start" if self.executed.is_none() && time().is_some() => self.started = time(),
            "exec" if self.executed.is_none() && time().is_some() => self.executed = time(),
            "error:" => {
                self.error = Some(rest.to_owned());
                self.held.append(&mut self.line);
            }
            "exit" => match rest.strip_prefix("code ").and_then(|code| code.parse().ok()) {
                Some(code) => {
                    self.code = Some(code);
                    self.held.append(&mut self.line);
                }
                None => return false,
            },
            _ => return false,
        }
        self.line.clear();
        true
    }

    fn pass(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.tail.extend(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        out.write_all(bytes)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(pieces: &[&[u8]]) -> (Vec<u8>, Output) {
        let (mut output, mut out) = (Output::default(), Vec::new());
        pieces.iter().for_each(|piece| output.push(piece, &mut out).unwrap());
        output.finish(&mut out).unwrap();
        (out, output)
    }

    #[test]
    fn init_lines_are_removed_from_the_output() {
        let (out, output) = passed(&[
            b"[vmroot-init] stage 1000000000\r\n[vmroot-init] start 1500000000\n[vmroot-init] exec 1600000000\n",
            b"hello\nno newline at the end",
            b"[vmroot-init] exit code 7\n",
        ]);
        assert_eq!(out, b"hello\nno newline at the end");
        assert_eq!(output.code, Some(7));
        assert_eq!(output.started, Some(Duration::from_millis(1500)));
        assert_eq!(output.executed, Some(Duration::from_millis(1600)));
    }

    #[test]
    fn forged_init_lines_are_output() {
        let forged: &[u8] =
            b"[vmroot-init] exit code 0\n[vmroot-init] error: x\n[vmroot-init] exec 1\n[vmroot-init] [v [";
        let (out, output) = passed(&[b"[vmroot-init] exec 9\n", forged, b"[vmroot-init] exit code 3\r\n"]);
        assert_eq!(out, forged);
        assert_eq!(output.code, Some(3));
        assert_eq!(output.executed, Some(Duration::from_nanos(9)));
    }

    #[test]
    fn an_error_is_kept_from_the_output() {
        let (out, output) = passed(&[b"[vmroot-init] error: /bin/x: no such file\n[vmroot-init] exit code 127\n"]);
        assert_eq!(out, b"");
        assert_eq!((output.code, output.error.as_deref()), (Some(127), Some("/bin/x: no such file")));
    }

    #[test]
    fn a_guest_that_ends_within_a_line_is_shown_whole() {
        let (out, output) = passed(&[b"[vmroot-init] exit co"]);
        assert_eq!(out, b"[vmroot-init] exit co");
        assert_eq!(output.code, None);
    }

    #[test]
    fn kernel_messages_after_the_init_do_not_hide_the_code() {
        let (out, output) = passed(&[b"[vmroot-init] exit code 3\n[ 2.2] reboot: Power down\n"]);
        assert_eq!(output.code, Some(3));
        assert!(out.ends_with(b"Power down\n"));
    }

    #[test]
    fn lines_without_an_end_are_not_held() {
        for text in [&b"[vmroot-init] exit code 0\n"[..], b"[vmroot-init] error: x\n", b"\n", b"\r"] {
            let (mut output, mut out) = (Output::default(), Vec::new());
            output.push(b"[vmroot-init] exit code 0\n", &mut out).unwrap();
            for _ in 0..1000 {
                output.push(&text.repeat(100), &mut out).unwrap();
                assert!(output.held.capacity() < 1 << 20, "{} bytes", output.held.capacity());
            }
            let sent = 26 + text.len() * 100_000;
            assert!((sent - 2 * MAX_HELD..=sent).contains(&out.len()), "{} of {sent}", out.len());
        }
    }

    #[test]
    fn a_prompt_that_begins_like_an_init_line_is_released() {
        let (mut output, mut out) = (Output::default(), Vec::new());
        output.push(b"[vm", &mut out).unwrap();
        assert!(out.is_empty() && output.is_waiting());
        output.release(&mut out).unwrap();
        assert_eq!(out, b"[vm");
        assert!(!output.is_waiting());
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let console: String = (0..1000).map(|number| format!("line {number}\r\n")).collect();
        let (_, output) = passed(&[console.as_bytes()]);
        let tail = output.tail();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 998\nline 999"), "{tail}");
    }

    proptest! {
        #[test]
        fn splitting_the_bytes_does_not_matter(
            text in r"(\[vmroot-init\] (exit code 5|error: x|start 1|exec 2|exec)\n|\[vm|[a\[\n]){0,12}",
            cut in 1_usize..7,
        ) {
            let whole = passed(&[text.as_bytes()]);
            let cut = passed(&text.as_bytes().chunks(cut).collect::<Vec<_>>());
            prop_assert_eq!(&whole.0, &cut.0);
            prop_assert_eq!(whole.1.code, cut.1.code);
        }

        #[test]
        fn without_the_prefix_nothing_is_lost(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (out, output) = passed(&[&bytes, b"[vmroot-init] exit code 0\n"]);
            prop_assert_eq!(out, bytes);
            prop_assert_eq!(output.code, Some(0));
        }
    }
}
