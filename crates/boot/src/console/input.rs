//! What the guest reads.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Bytes that are passed on at once.
const PIECE: usize = 4096;
/// Ctrl-A: what begins a word to us and not to the guest, as in QEMU and screen.
const ESCAPE: u8 = 0x01;

/// The end of input, where a terminal line has one: VEOF of termios(3).
const END: u8 = 0x04;
/// Takes the meaning from the byte that follows: VLNEXT.
const LITERALLY: u8 = 0x16;
/// A terminal line holds at most 4095 bytes (`N_TTY_BUF_SIZE`); what is longer is handed over in parts.
const LINE: usize = 1024;

/// How input is passed on.
pub(crate) enum Encoding {
    /// Key by key, from a terminal.
    Keys(Keys),
    /// As bytes that come to an end.
    Bytes(Bytes),
}

impl Encoding {
    pub(crate) fn new(interactive: bool) -> Self {
        if interactive { Self::Keys(Keys::default()) } else { Self::Bytes(Bytes::default()) }
    }

    /// Tells the guest that there is no more.
    pub(crate) fn end(&mut self, machine: &mut impl Write) -> io::Result<()> {
        let mut encoded = Vec::new();
        match self {
            Self::Keys(_) => {}
            Self::Bytes(bytes) => bytes.end(&mut encoded),
        }
        send(&encoded, machine).map(drop)
    }

    /// `true` when the guest is to end.
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

/// Passes `input` on to the machine until it ends, the machine does, or `stop` is readable. `true` when whoever sits at
/// the terminal wants the guest to end.
pub(crate) fn forward(
    input: BorrowedFd<'_>,
    stop: BorrowedFd<'_>,
    machine: &mut impl Write,
    encoding: &mut Encoding,
) -> io::Result<bool> {
    let mut buffer = [0; PIECE];
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

/// `false` when the machine has ended, which somebody else notices too.
fn send(bytes: &[u8], machine: &mut impl Write) -> io::Result<bool> {
    match machine.write_all(bytes).and_then(|()| machine.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Keys, with Ctrl-A taken out.
#[derive(Default)]
pub(crate) struct Keys {
    escaped: bool,
}

impl Keys {
    /// `true` for Ctrl-A X.
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

/// Bytes for a terminal line in canonical mode, in which only the end of input and the literal-next character mean
/// anything: it is the only mode that has an end.
#[derive(Default)]
pub(crate) struct Bytes {
    /// Bytes since the last newline, or since the last that were handed over.
    pending: usize,
}

impl Bytes {
    fn encode(&mut self, bytes: &[u8], encoded: &mut Vec<u8>) {
        for byte in bytes {
            if matches!(*byte, END | LITERALLY) {
                encoded.push(LITERALLY);
            }
            encoded.push(*byte);
            self.pending = if *byte == b'\n' { 0 } else { self.pending + 1 };
            if self.pending == LINE {
                // Within a line it hands over what there is.
                encoded.push(END);
                self.pending = 0;
            }
        }
    }

    fn end(&mut self, encoded: &mut Vec<u8>) {
        if self.pending > 0 {
            encoded.push(END);
        }
        encoded.push(END);
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

    /// Both ends of a terminal line that is set as `vmroot-init` sets the console for bytes.
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
        settings.special_codes[SpecialCodeIndex::VEOF] = END;
        settings.special_codes[SpecialCodeIndex::VLNEXT] = LITERALLY;
        tcsetattr(&far, OptionalActions::Now, &settings).unwrap();
        (near.into(), far)
    }

    fn arrives(sent: &[u8]) -> Vec<u8> {
        let (mut near, mut far) = line();
        let mut encoded = Vec::new();
        let mut bytes = Bytes::default();
        sent.chunks(700).for_each(|piece| bytes.encode(piece, &mut encoded));
        bytes.end(&mut encoded);
        thread::scope(|scope| {
            scope.spawn(move || {
                near.write_all(&encoded).unwrap();
                // The line would hang up, and forget what was not read.
                thread::sleep(std::time::Duration::from_millis(20));
                near
            });
            let mut arrived = Vec::new();
            far.read_to_end(&mut arrived).unwrap();
            arrived
        })
    }

    #[test]
    fn any_length_of_line_arrives() {
        for length in [0, 1, LINE - 1, LINE, LINE + 1, 2 * LINE, 10_000] {
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
    fn control_a_begins_a_word_to_us() {
        assert_eq!(forwarded(b"ls\r\x03\x04"), (false, b"ls\r\x03\x04".to_vec()));
        assert_eq!(forwarded(b"a\x01\x01b\x01c"), (false, b"a\x01bc".to_vec()));
        assert!(forwarded(b"\x01x").0);
        assert!(forwarded(b"\x01X").0);
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let stop = stop();
        rustix::io::write(&stop, &1_u64.to_ne_bytes()).unwrap();
        let mut encoding = Encoding::Bytes(Bytes::default());
        assert!(!forward(read.as_fd(), stop.as_fd(), &mut Vec::new(), &mut encoding).unwrap());
    }
}
