//! A terminal: the program runs in a pseudo-terminal, and an emulator shows what a person would see.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::program::{wait_for, wait_until};

/// A program at a terminal.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    near: File,
    emulator: Arc<Mutex<vt100::Parser>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts a command with a terminal as standard input, output and error.
    pub(crate) fn start(mut command: Command, columns: u16, lines: u16) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let name = ptsname(&near, Vec::new()).unwrap();
        let near = File::from(near);
        tcsetwinsize(&near, size(columns, lines)).unwrap();
        let far = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let streams: [Stdio; 3] = [far.try_clone().unwrap(), far.try_clone().unwrap(), far].map(Stdio::from);
        let [stdin, stdout, stderr] = streams;
        let child = command.env("TERM", "xterm").stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        drop(command);
        let emulator = Arc::new(Mutex::new(vt100::Parser::new(whole(lines), whole(columns), 0)));
        let (shown, mut sent) = (Arc::clone(&emulator), near.try_clone().unwrap());
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading fails once all descriptors of the other side are closed.
            while let Ok(count) = sent.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..count]);
            }
        });
        Self { child, near, emulator, reader }
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        self.emulator.lock().unwrap().screen_mut().set_size(whole(lines), whole(columns));
        tcsetwinsize(&self.near, size(columns, lines)).unwrap();
    }

    /// Returns the side of the terminal that the program does not have.
    pub(crate) fn near(&self) -> &File {
        &self.near
    }

    /// Types text.
    pub(crate) fn send(&self, text: &str) {
        std::io::Write::write_all(&mut &self.near, text.as_bytes()).unwrap();
    }

    /// Returns the lines of the screen up to the last one with text.
    pub(crate) fn lines(&self) -> Vec<String> {
        let emulator = self.emulator.lock().unwrap();
        let (_, columns) = emulator.screen().size();
        let mut lines: Vec<String> =
            emulator.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Waits until the screen satisfies a condition, and returns its lines.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        wait_until(what, || {
            lines = self.lines();
            is_so(&lines)
        });
        lines
    }

    /// Waits for the end of the program. Returns whether the last screen has colours.
    pub(crate) fn finish_with_colours(self) -> bool {
        let emulator = Arc::clone(&self.emulator);
        self.finish();
        let emulator = emulator.lock().unwrap();
        let (lines, columns) = emulator.screen().size();
        let cells = (0..lines.get()).flat_map(|line| (0..columns.get()).map(move |column| (line, column)));
        let mut cells = cells.filter_map(|(line, column)| emulator.screen().cell(line, column));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default || cell.bold() || cell.underline())
    }

    /// Waits for the end of the program. Returns its exit code and the last screen.
    pub(crate) fn finish(mut self) -> (Option<i32>, Vec<String>) {
        let code = wait_for(&mut self.child).code();
        // The side of the program has closed, but bytes may still be on their way.
        while !self.reader.is_finished() {
            thread::yield_now();
        }
        (code, self.lines())
    }
}

fn whole(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
