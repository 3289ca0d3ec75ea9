//! The input of the guest's console.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The number of bytes that are forwarded at once.
const CHUNK: usize = 4096;
/// Ctrl-A, which begins a command to the console instead of the guest, as in QEMU and screen.
const ESCAPE: u8 = 0x01;

/// The end-of-file character of a terminal line: VEOF of termios(3).
const END_OF_INPUT: u8 = 0x04;
/// The literal-next character, which removes the meaning of the next byte: VLNEXT of termios(3).
const LITERAL_NEXT: u8 = 0x16;
/// A terminal line holds at most 4095 bytes (`N_TTY_BUF_SIZE`). Longer lines are delivered in parts of this many bytes.
const MAX_LINE: usize = 1024;

/// The encoding of forwarded input.
pub(crate) enum Encoding {
    /// Single keys from a terminal.
    Keys(Keys),
    /// A stream of bytes with an end.
    Bytes(Bytes),
}

impl Encoding {
    pub(crate) fn new(interactive: bool) -> Self {
        if interactive { Self::Keys(Keys::default()) } else { Self::Bytes(Bytes::default()) }
    }

    /// Sends the end of the input to the guest.
    pub(crate) fn end(&mut self, machine: &mut impl Write) -> io::Result<()> {
        let mut encoded = Vec::new();
        match self {
            Self::Keys(_) => {}
            Self::Bytes(bytes) => bytes.end(&mut encoded),
        }
        send(&encoded, machine).map(drop)
    }

    /// Encodes bytes. Returns `true` if the user has requested the end of the guest.
    fn encode(&mut self, bytes: &[u8], encoded: &mut Vec<u8>) -> bool {
        match self {
            Self::Keys(keys) => keys.encode(bytes, encoded),
            Self::Bytes(plain) => {
                plain.encode(bytes, encoded);
                false
            }
        }
    }
}

/// Forwards `input` to the machine until the input or the machine ends, or `stop` is readable.
///
/// Returns `true` if the user has requested the end of the guest.
pub(crate) fn forward(
    input: BorrowedFd<'_>,
    stop: BorrowedFd<'_>,
    machine: &mut impl Write,
    encoding: &mut Encoding,
) -> io::Result<bool> {
    let mut buffer = [0; CHUNK];
    loop {
        let mut ready = [PollFd::new(&input, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        if !ready[1].revents().is_empty() {
            return Ok(false);
        }
        let count = match rustix::io::read(input, &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => continue,
            count => count?,
        };
        if count == 0 {
            return encoding.end(machine).map(|()| false);
        }
        let mut encoded = Vec::new();
        if encoding.encode(&buffer[..count], &mut encoded) {
            return Ok(true);
        }
        if !send(&encoded, machine)? {
            return Ok(false);
        }
    }
}

/// Sends bytes. Returns `false` if the machine has ended, which the reader of its output also notices.
fn send(bytes: &[u8], machine: &mut impl Write) -> io::Result<bool> {
    match machine.write_all(bytes).and_then(|()| machine.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Encodes keys, and handles Ctrl-A.
#[derive(Default)]
pub(crate) struct Keys {
    escaped: bool,
}

impl Keys {
    /// Returns `true` for Ctrl-A X.
    fn encode(&mut self, keys: &[u8], encoded: &mut Vec<u8>) -> bool {
        for key in keys {
            match (std::mem::take(&mut self.escaped), *key) {
                (false, ESCAPE) => self.escaped = true,
                (true, b'x' | b'X') => return true,
                (_, key) => encoded.push(key),
            }
        }
        false
    }
}

/// Encodes bytes for a terminal line in canonical mode, with only the end-of-file and literal-next characters enabled.
/// Only canonical mode has an end of input.
#[derive(Default)]
pub(crate) struct Bytes {
    /// The number of bytes since the last newline or the last delivery.
    pending: usize,
}

impl Bytes {
    fn encode(&mut self, bytes: &[u8], encoded: &mut Vec<u8>) {
        for byte in bytes {
            if matches!(*byte, END_OF_INPUT | LITERAL_NEXT) {
                encoded.push(LITERAL_NEXT);
            }
            encoded.push(*byte);
            self.pending = if *byte == b'\n' { 0 } else { self.pending + 1 };
            if self.pending == MAX_LINE {
                // Within a line, this character delivers the bytes so far.
                encoded.push(END_OF_INPUT);
                self.pending = 0;
            }
        }
    }

    fn end(&mut self, encoded: &mut Vec<u8>) {
        if self.pending > 0 {
            encoded.push(END_OF_INPUT);
        }
        encoded.push(END_OF_INPUT);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsFd, OwnedFd};
    use std::thread;

    use proptest::prelude::*;
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

    use super::*;

    /// Returns both ends of a terminal line with the settings that `vmroot-init` makes for byte input.
    fn line() -> (File, File) {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let path = ptsname(&near, Vec::new()).unwrap();
        let far = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        let mut settings = tcgetattr(&far).unwrap();
        settings.make_raw();
        settings.input_modes = InputModes::empty();
        settings.local_modes = LocalModes::ICANON | LocalModes::IEXTEN;
        for index in [
            SpecialCodeIndex::VERASE,
            SpecialCodeIndex::VKILL,
            SpecialCodeIndex::VWERASE,
            SpecialCodeIndex::VEOL,
            SpecialCodeIndex::VEOL2,
            SpecialCodeIndex::VREPRINT,
        ] {
            settings.special_codes[index] = 0;
        }
        settings.special_codes[SpecialCodeIndex::VEOF] = END_OF_INPUT;
        settings.special_codes[SpecialCodeIndex::VLNEXT] = LITERAL_NEXT;
        tcsetattr(&far, OptionalActions::Now, &settings).unwrap();
        (near.into(), far)
    }

    fn arrives(sent: &[u8]) -> Vec<u8> {
        let (near, mut far) = line();
        let mut writer = near.try_clone().unwrap();
        let mut encoded = Vec::new();
        let mut bytes = Bytes::default();
        sent.chunks(700).for_each(|piece| bytes.encode(piece, &mut encoded));
        bytes.end(&mut encoded);
        thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&encoded).unwrap());
            let mut arrived = Vec::new();
            far.read_to_end(&mut arrived).unwrap();
            // Closing the line earlier would discard bytes that are not read yet.
            drop(near);
            arrived
        })
    }

    #[test]
    fn any_length_of_line_arrives() {
        for length in [0, 1, MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 2 * MAX_LINE, 10_000] {
            assert_eq!(arrives(&vec![b'x'; length]).len(), length);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_arrive(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(arrives(&bytes), bytes);
        }
    }

    fn stop() -> OwnedFd {
        eventfd(0, EventfdFlags::CLOEXEC).unwrap()
    }

    fn forwarded(keys: &[u8]) -> (bool, Vec<u8>) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&write, keys).unwrap();
        drop(write);
        let mut machine = Vec::new();
        let mut encoding = Encoding::Keys(Keys::default());
        let ended = forward(read.as_fd(), stop().as_fd(), &mut machine, &mut encoding).unwrap();
        (ended, machine)
    }

    #[test]
    fn ctrl_a_begins_a_command_to_the_console() {
        assert_eq!(forwarded(b"ls\r\x03\x04"), (false, b"ls\r\x03\x04".to_vec()));
        assert_eq!(forwarded(b"a\x01\x01b\x01c"), (false, b"a\x01bc".to_vec()));
        assert!(forwarded(b"\x01x").0);
        assert!(forwarded(b"\x01X").0);
    }

    #[test]
    fn forwarding_ends_when_stop_is_readable() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let stop = stop();
        rustix::io::write(&stop, &1_u64.to_ne_bytes()).unwrap();
        let mut encoding = Encoding::Bytes(Bytes::default());
        assert!(!forward(read.as_fd(), stop.as_fd(), &mut Vec::new(), &mut encoding).unwrap());
    }
}
