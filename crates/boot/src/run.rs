//! Runs a VMM until its guest has ended.

use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::console::{self, Console, Encoding, Output, RawTerminal};
use crate::{Error, InitMessages, Result, VmmCommand};

/// The maximum time for which bytes that may begin a line of the init are held back.
const MAX_LINE_WAIT: Duration = Duration::from_secs(1);
/// The maximum time for a VMM to exit after the end of its console.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of bytes that are kept from the end of a VMM's standard error.
const MAX_MESSAGE: usize = 4096;

/// The result of a guest that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestExit {
    /// The exit code of the command: 128 plus the signal's number if a signal ended it, 125 to 127 if it was not
    /// executed. `None` for an image's own init, which reports no exit code.
    pub code: Option<u8>,
    /// The reason why the command was not executed, or was ended: a block of the root that does not match its hash.
    pub error: Option<String>,
    /// The start of `vmroot-init`, after the kernel had booted, in the guest's time since boot.
    pub started: Option<Duration>,
    /// The start of the command, in the guest's time since boot.
    pub executed: Option<Duration>,
    /// Whether the end of the console shows that the guest's kernel killed a process because no memory was left.
    pub out_of_memory: bool,
}

/// A handle that ends [`Guest::run`](crate::Guest::run) from any thread, such as one that waits for signals.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<OwnedFd>);

impl Stopper {
    /// Returns a stopper for one guest.
    ///
    /// # Errors
    /// [`Error::Io`] if no file descriptor is available.
    pub(crate) fn new() -> Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC).map_err(Error::io("make an event for", "the guest"))?;
        Ok(Self(Arc::new(event)))
    }

    /// Ends the guest now, or as soon as it starts.
    pub fn stop(&self) {
        // Writing fails only if the counter is full. The event is then signalled already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Options for running a VMM.
pub(crate) struct Run<'a> {
    pub(crate) command: &'a VmmCommand,
    /// The path that [`VmmCommand::config`] is written to.
    pub(crate) vmm_config: &'a Path,
    pub(crate) timeout: Option<Duration>,
    /// The maximum time without output on the console.
    pub(crate) silence: Option<Duration>,
    pub(crate) stopper: &'a Stopper,
    pub(crate) init_messages: InitMessages,
}

impl Run<'_> {
    /// Runs the VMM until it exits.
    pub(crate) fn run(&self, console: Console<'_>) -> Result<GuestExit> {
        if let Some(config) = &self.command.config {
            std::fs::write(self.vmm_config, config).map_err(Error::io("write", self.vmm_config))?;
        }
        let mut guest = RunningVmm::start(self.command)?;
        let mut output = Output::default();
        let status = self.relay(&mut guest, console, &mut output)?;
        self.ended(&mut output, status, &guest.messages)
    }

    fn ended(&self, output: &mut Output, status: ExitStatus, messages: &[u8]) -> Result<GuestExit> {
        let program = self.command.program.clone();
        let message = String::from_utf8_lossy(messages).trim().to_owned();
        if output.code.is_none() && !status.success() {
            return Err(Error::Vmm { program, status, message });
        }
        if !message.is_empty() {
            tracing::debug!("{program}: {message}");
        }
        if output.code.is_none() && self.init_messages >= InitMessages::ExitCode {
            return Err(match output.error.take() {
                Some(error) => Error::Init(error),
                None => Error::Ended { console: output.tail() },
            });
        }
        let Output { code, started, executed, .. } = *output;
        let out_of_memory = output.tail().contains("Out of memory: Killed process");
        Ok(GuestExit { code, error: output.error.take(), started, executed, out_of_memory })
    }

    /// Relays bytes between the console and the machine until the machine's output ends, then waits for its exit.
    fn relay(&self, guest: &mut RunningVmm, console: Console<'_>, output: &mut Output) -> Result<ExitStatus> {
        let Console { input, interactive, output: out } = console;
        let failed = |source| Error::io("use", "the console")(source);
        let _raw = match input {
            Some(terminal) if interactive => Some(RawTerminal::new(terminal).map_err(failed)?),
            _ => None,
        };
        let done = eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let (go, wait) = mpsc::channel();
        if !self.init_messages.has_start() {
            // Sending cannot fail: the receiver is alive.
            let _ = go.send(());
        }
        let to_guest = guest.input.take();
        thread::scope(|scope| {
            let done = done.as_fd();
            let end_signal = EndSignal(done);
            scope.spawn(move || {
                if let (Ok(()), Some(to_guest)) = (wait.recv(), to_guest)
                    && self.forward(input, done, to_guest, interactive)
                {
                    self.stopper.stop();
                }
            });
            let relayed = self.relay_output(guest, output, out, go).map_err(failed).flatten();
            if relayed.is_err() {
                guest.kill();
            }
            // Wait here and not after the scope: until the guest has ended, the thread may be blocked writing to a
            // guest that reads nothing.
            let status = guest.wait();
            drop(end_signal);
            relayed.and(status)
        })
    }

    /// Forwards the input. Returns `true` if the user has requested the end of the guest with Ctrl-A X.
    fn forward(
        &self,
        input: Option<BorrowedFd<'_>>,
        done: BorrowedFd<'_>,
        mut machine: PipeWriter,
        interactive: bool,
    ) -> bool {
        let mut encoding = Encoding::new(interactive);
        let forwarded = match input {
            Some(input) => console::forward(input, done, &mut machine, &mut encoding),
            None => encoding.end(&mut machine).map(|()| false),
        };
        forwarded.unwrap_or_else(|error| {
            tracing::warn!("the guest gets no more input: {error}");
            false
        })
    }

    fn relay_output(
        &self,
        guest: &mut RunningVmm,
        output: &mut Output,
        out: &mut dyn Write,
        go: mpsc::Sender<()>,
    ) -> io::Result<Result<()>> {
        let mut deadlines = Deadlines::new(self);
        let mut go = Some(go);
        let mut buffer = [0; 16 << 10];
        loop {
            let timeout = deadlines.next().into_iter().chain(output.is_waiting().then_some(MAX_LINE_WAIT)).min();
            let ready = guest.poll(self.stopper, timeout)?;
            if ready.stopped {
                return Ok(Err(Error::Cancelled));
            }
            if let Some(timeout) = deadlines.expired() {
                return Ok(Err(Error::Timeout(timeout)));
            }
            if ready.messages {
                guest.read_messages(&mut buffer)?;
            }
            if ready.output {
                match rustix::io::read(&guest.output, &mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        deadlines.reset_silence();
                        output.push(&buffer[..count], out)?;
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            } else if !ready.messages && output.is_waiting() {
                output.release(out)?;
            }
            if output.executed.is_some()
                && let Some(go) = go.take()
            {
                // Without input the receiver is gone. Then no thread waits.
                let _ = go.send(());
            }
        }
        output.finish(out)?;
        Ok(Ok(()))
    }
}

/// The deadlines of a guest.
struct Deadlines {
    whole: Option<(Instant, Duration)>,
    silence: Option<(Instant, Duration)>,
}

impl Deadlines {
    fn new(run: &Run<'_>) -> Self {
        let after = |timeout: Duration| Some((Instant::now().checked_add(timeout)?, timeout));
        Self { whole: run.timeout.and_then(after), silence: run.silence.and_then(after) }
    }

    fn reset_silence(&mut self) {
        self.silence = self.silence.map(|(_, timeout)| (Instant::now() + timeout, timeout));
    }

    /// Returns the time until the next deadline.
    fn next(&self) -> Option<Duration> {
        let deadlines = self.whole.iter().chain(&self.silence);
        deadlines.map(|(deadline, _)| deadline.saturating_duration_since(Instant::now())).min()
    }

    fn expired(&self) -> Option<Duration> {
        let mut deadlines = self.whole.iter().chain(&self.silence);
        deadlines.find(|(deadline, _)| Instant::now() >= *deadline).map(|(_, timeout)| *timeout)
    }
}

/// Signals the end of the run to the forwarding thread when it is dropped.
struct EndSignal<'a>(BorrowedFd<'a>);

impl Drop for EndSignal<'_> {
    fn drop(&mut self) {
        let _ = rustix::io::write(self.0, &1_u64.to_ne_bytes());
    }
}

/// A running VMM.
struct RunningVmm {
    child: Child,
    input: Option<PipeWriter>,
    output: OwnedFd,
    errors: Option<OwnedFd>,
    messages: Vec<u8>,
}

struct Ready {
    output: bool,
    messages: bool,
    stopped: bool,
}

impl RunningVmm {
    fn start(command: &VmmCommand) -> Result<Self> {
        let failed = |source| Error::io("start", &command.program)(source);
        let (input, to_guest) = io::pipe().map_err(failed)?;
        let mut process = Command::new(&command.program);
        process.args(&command.arguments).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C at the terminal goes to the caller, which then ends the guest.
        process.process_group(0);
        vmroot_sys::end_with_parent(&mut process);
        let mut child = process.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::MissingProgram { program: command.program.clone() },
            _ => failed(source),
        })?;
        let output = child.stdout.take().expect("it is piped").into();
        let errors = child.stderr.take().expect("it is piped").into();
        Ok(Self { child, input: Some(to_guest), output, errors: Some(errors), messages: Vec::new() })
    }

    fn poll(&self, stopper: &Stopper, timeout: Option<Duration>) -> io::Result<Ready> {
        let none = [PollFd::new(&self.output, PollFlags::IN), PollFd::new(&*stopper.0, PollFlags::IN)];
        let errors = self.errors.iter().map(|errors| PollFd::new(errors, PollFlags::IN));
        let mut descriptors: Vec<PollFd<'_>> = none.into_iter().chain(errors).collect();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |number: usize| descriptors.get(number).is_some_and(|polled| !polled.revents().is_empty());
        Ok(Ready { output: is_ready(0), stopped: is_ready(1), messages: is_ready(2) })
    }

    /// Reads the VMM's standard error and keeps its last [`MAX_MESSAGE`] bytes.
    fn read_messages(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some(errors) = &self.errors else { return Ok(()) };
        match rustix::io::read(errors, &mut *buffer) {
            Ok(0) => self.errors = None,
            Ok(count) => {
                self.messages.extend_from_slice(&buffer[..count]);
                self.messages.drain(..self.messages.len().saturating_sub(MAX_MESSAGE));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn kill(&mut self) {
        // Killing fails only if the VMM has exited already.
        let _ = self.child.kill();
    }

    /// Waits for the VMM's exit after the end of its output, and kills it after a grace period.
    fn wait(&mut self) -> Result<ExitStatus> {
        let start = Instant::now();
        let mut buffer = [0; MAX_MESSAGE];
        loop {
            // After its exit, all its messages can be read.
            let ended = self.child.try_wait().map_err(Error::io("wait for", "the VMM"))?;
            self.drain(&mut buffer);
            match ended {
                Some(status) => return Ok(status),
                None if start.elapsed() > EXIT_TIMEOUT => self.kill(),
                None => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn drain(&mut self, buffer: &mut [u8]) {
        while let Some(errors) = &self.errors {
            let mut ready = [PollFd::new(errors, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let has_more = poll(&mut ready, Some(&now)).is_ok_and(|count| count > 0);
            if !has_more || self.read_messages(buffer).is_err() {
                return;
            }
        }
    }
}

impl Drop for RunningVmm {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a command that runs a shell script as the VMM.
    fn vmm_script(script: &str) -> VmmCommand {
        VmmCommand { program: "sh".into(), arguments: vec!["-c".into(), script.into()], config: None }
    }

    fn run(command: &VmmCommand, silence: Option<Duration>, stopper: &Stopper) -> (Result<GuestExit>, Vec<u8>) {
        let mut output = Vec::new();
        let run = Run {
            command,
            vmm_config: Path::new(""),
            timeout: None,
            silence,
            stopper,
            init_messages: InitMessages::Everything,
        };
        let ended = run.run(Console { input: None, interactive: false, output: &mut output });
        (ended, output)
    }

    fn ended(script: &str) -> (Result<GuestExit>, String) {
        let (ended, output) = run(&vmm_script(script), None, &Stopper::new().unwrap());
        (ended, String::from_utf8(output).unwrap())
    }

    #[test]
    fn the_exit_code_is_that_of_the_guest() {
        let (ended, output) =
            ended("echo '[vmroot-init] exec 5'; read line; echo hello; echo '[vmroot-init] exit code 9'");
        let executed = Some(Duration::from_nanos(5));
        let expected = GuestExit { code: Some(9), error: None, started: None, executed, out_of_memory: false };
        assert_eq!((ended.unwrap(), output.as_str()), (expected, "hello\n"));
    }

    #[test]
    fn a_failed_vmm_is_reported_with_its_message() {
        let (ended, _) = ended("echo 'no such machine' >&2; exit 3");
        assert_eq!(ended.unwrap_err().to_string(), "sh failed: exit status: 3:\nno such machine");
        let missing = VmmCommand { program: "qemu-system-none".into(), arguments: Vec::new(), config: None };
        let (ended, _) = run(&missing, None, &Stopper::new().unwrap());
        assert_eq!(ended.unwrap_err().to_string(), "qemu-system-none is not installed");
    }

    #[test]
    fn a_guest_that_ends_before_its_command_is_an_error() {
        let (early, output) = ended("echo 'Kernel panic'");
        assert_eq!(early.unwrap_err().to_string(), "the guest ended without an exit code:\nKernel panic");
        assert_eq!(output, "Kernel panic\n");
        let (early, _) = ended("echo '[vmroot-init] error: no /dev/vda'");
        assert_eq!(early.unwrap_err().to_string(), "the guest could not start: no /dev/vda");
    }

    #[test]
    fn silence_is_a_timeout() {
        let silence = Duration::from_millis(300);
        let (early, output) = run(&vmm_script("echo a; sleep 60"), Some(silence), &Stopper::new().unwrap());
        assert!(matches!(early, Err(Error::Timeout(time)) if time == silence), "{early:?}");
        assert_eq!(output, b"a\n");
    }

    /// The input is longer than a pipe's buffer.
    #[test]
    fn a_guest_that_reads_nothing_can_be_ended() {
        let input = tempfile::tempfile().unwrap();
        input.set_len(4 << 20).unwrap();
        let command = vmm_script("exec sleep 60");
        let (timeout, start) = (Duration::from_millis(300), Instant::now());
        let stopper = Stopper::new().unwrap();
        let run = Run {
            command: &command,
            vmm_config: Path::new(""),
            timeout: Some(timeout),
            silence: None,
            stopper: &stopper,
            init_messages: InitMessages::Nothing,
        };
        let early = run.run(Console { input: Some(input.as_fd()), interactive: false, output: &mut Vec::new() });
        assert!(matches!(early, Err(Error::Timeout(time)) if time == timeout), "{early:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn another_thread_can_stop_it() {
        let stopper = Stopper::new().unwrap();
        let other = stopper.clone();
        let early = thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(100));
                other.stop();
            });
            run(&vmm_script("sleep 60"), None, &stopper).0
        });
        assert!(matches!(early, Err(Error::Cancelled)), "{early:?}");
    }
}
