//! The console of a running guest.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// The time limit of a guest: ten times the duration on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The console of a running guest, which is killed when this is dropped.
#[derive(Debug)]
pub struct GuestConsole {
    qemu: Child,
    pieces: Receiver<Vec<u8>>,
    output: Vec<u8>,
    end: Instant,
    _archive: NamedTempFile,
}

impl GuestConsole {
    pub(super) fn of(mut qemu: Child, archive: NamedTempFile) -> Self {
        let mut output = qemu.stdout.take().expect("it was piped");
        let (sender, pieces) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { qemu, pieces, output: Vec::new(), end: Instant::now() + TIME_LIMIT, _archive: archive }
    }

    /// Waits until the output contains `text` this many times. Returns the output so far, without carriage returns.
    ///
    /// # Panics
    /// If the guest ends first, or after two minutes.
    pub fn wait_for(&mut self, text: &str, times: usize) -> String {
        loop {
            let output = self.text();
            if output.matches(text).count() >= times {
                return output;
            }
            assert!(self.listen(), "the guest ended without {text:?}; its output:\n{output}");
        }
    }

    /// Types `text`.
    ///
    /// # Panics
    /// If the guest has ended.
    pub fn send(&mut self, text: &str) {
        let input = self.qemu.stdin.as_mut().expect("it was piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the guest listens");
    }

    /// Waits for the end of the guest. Returns its whole output, without carriage returns.
    ///
    /// # Panics
    /// If it has not ended after two minutes.
    pub fn finish(mut self) -> String {
        while self.listen() {}
        self.text()
    }

    /// Receives output. Returns whether more may follow.
    fn listen(&mut self) -> bool {
        match self.pieces.recv_timeout(self.end.saturating_duration_since(Instant::now())) {
            Ok(piece) => {
                self.output.extend(piece);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("the guest does not end; its output:\n{}", self.text()),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).replace('\r', "")
    }
}

impl Drop for GuestConsole {
    fn drop(&mut self) {
        // Errors are ignored: the guest may have ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
