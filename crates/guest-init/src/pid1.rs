//! PID 1 of the guest.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::system::{RebootCommand, reboot, sethostname};
use signal_hook::consts;
use signal_hook::iterator::Signals;
use vmroot_guest_config::{CONFIG, Pid1};
use vmroot_sys::enter_pid_namespace;

use crate::config::Config;
use crate::kernel::{self, CommandLine};
use crate::{
    COMMAND_ROLE, Error, Result, command, console, devices, document, mounts, names, network, shutdown, wrong_block,
};

/// The host name if neither the config nor the image has one.
const DEFAULT_HOSTNAME: &str = "vmroot";
/// The maximum length of a host name in Linux, in bytes.
const MAX_HOSTNAME: usize = 64;

/// Signals that are forwarded to the command.
const FORWARDED: [i32; 8] = [
    consts::SIGHUP,
    consts::SIGINT,
    consts::SIGQUIT,
    consts::SIGTERM,
    consts::SIGUSR1,
    consts::SIGUSR2,
    consts::SIGWINCH,
    POWER,
];
/// SIGPWR: power failure. It is forwarded as SIGTERM.
const POWER: i32 = 30;

/// Runs the command of the root's config, with `arguments` in place of its own, and powers off.
pub(crate) fn run(name: &OsStr, arguments: &[OsString]) -> ! {
    let start = kernel::now();
    mounts::mount_essential();
    console::attach();
    let kernel = CommandLine::read();
    if kernel.trace {
        console::trace("start", start);
    }
    if kernel.verity.is_some() {
        wrong_block::end_at_first(kernel.reboot);
    }
    let ended = serve(name, kernel.init_arguments(arguments));
    // A wrong block may be the cause of any end.
    let wrong_block = kernel.verity.as_ref().and_then(|_| wrong_block::find());
    match wrong_block.map_or(ended, Err) {
        Ok(code) => shutdown::end(code, kernel.reboot),
        Err(error) => shutdown::end_after(&error, kernel.reboot),
    }
}

fn serve(name: &OsStr, arguments: &[OsString]) -> Result<i32> {
    mounts::mount_further();
    let config = Config::read(Path::new(CONFIG))?;
    let hostname = hostname(&config, Path::new("/etc/hostname"));
    if let Err(error) = sethostname(hostname.as_bytes()) {
        console::note(&format!("no host name: {error}"));
    }
    if let Err(error) = network::bring_up_loopback() {
        console::note(&format!("no loopback interface: {error}"));
    }
    if let Some(network) = &config.settings.network {
        network::bring_up(network, devices::DEVICE_TIMEOUT)?;
    }
    names::provide(&config, &hostname);
    match config.settings.pid1 {
        Some(Pid1::Machine) => return command::replace_init(&config, arguments).map(|never| match never {}),
        Some(Pid1::Namespace) => {
            enter_pid_namespace().map_err(|source| Error::System { what: "make a PID namespace", source })?
        }
        None => {}
    }
    // Ctrl-Alt-Del sends SIGINT to PID 1 instead of restarting at once.
    let _ = reboot(RebootCommand::CadOff);
    let failed = |what| move |source: io::Error| Error::System { what, source };
    let mut signals = Signals::new(FORWARDED.iter().chain(&[consts::SIGCHLD])).map_err(failed("wait for signals"))?;
    let child = start(name, arguments).map_err(failed("start another process"))?;
    Ok(supervise(&mut signals, child))
}

/// Starts this program again as the command. Without /proc, `name` is used, which is a full path.
fn start(name: &OsStr, arguments: &[OsString]) -> io::Result<Pid> {
    let start = |program: &OsStr| Command::new(program).arg0(COMMAND_ROLE).args(arguments).spawn();
    let child = start(OsStr::new("/proc/self/exe")).or_else(|_| start(name))?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Reaps processes and forwards signals until `command` ends. Returns its exit code.
fn supervise(signals: &mut Signals, command: Pid) -> i32 {
    for signal in signals.forever() {
        if signal != consts::SIGCHLD {
            let signal = if signal == POWER { consts::SIGTERM } else { signal };
            let named = Signal::from_named_raw(signal).unwrap_or(Signal::TERM);
            let _ = kill_process(command, named);
            continue;
        }
        // One signal may stand for several children.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == command {
                return exit_code(status);
            }
        }
    }
    unreachable!("signals are waited for as long as the handle is open")
}

/// Returns the exit status, or 128 plus the signal's number, as shells do.
fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(crate::error::OWN_FAULT)
}

/// Returns the host name of the config, of the image, or the default. Names that Linux rejects are skipped.
fn hostname(config: &Config, file: &Path) -> String {
    let valid = |name: &str| !name.is_empty() && name.len() <= MAX_HOSTNAME && !name.contains(char::is_whitespace);
    if let Some(name) = config.settings.hostname.as_deref().filter(|name| valid(name)) {
        return name.to_owned();
    }
    let text = document::read(file, 4096).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // Comments begin with # (hostname(5)).
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    name.filter(|name| valid(name)).unwrap_or(DEFAULT_HOSTNAME).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hostname_comes_from_the_config_then_from_the_image() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# comment\n\n image \n").unwrap();
        let mut config = Config::default();
        assert_eq!(hostname(&config, file.path()), "image");
        assert_eq!(hostname(&config, Path::new("/nonexistent")), "vmroot");
        config.settings.hostname = Some("config".to_owned());
        assert_eq!(hostname(&config, file.path()), "config");
        config.settings.hostname = Some("x".repeat(65));
        assert_eq!(hostname(&config, file.path()), "image");
    }
}
