//! `mount` and `umount`.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use vmroot::fuse::{Mount, MountOptions, Unmounted};

use crate::args::{Driver, MountArguments};
use crate::context::Context;
use crate::exit::Silent;
use crate::{output, signals};

/// Set for the process that serves a detached mount.
const SERVING: &str = "VMROOT_SERVE_DETACHED";
/// What that process writes once the mount answers.
const READY: &str = "mounted";

/// Mounts, and stays until the mount is gone; or, detached, returns when it answers.
pub(crate) fn mount(context: &Context, image: &str, directory: &Path, options: &MountArguments) -> anyhow::Result<()> {
    let serving = std::env::var_os(SERVING).is_some();
    if options.detach && !serving {
        return detach();
    }
    let opened = context.root(image)?;
    let defaults = MountOptions::default();
    let mount_options = MountOptions {
        allow_other: options.allow_other,
        suid_dev: options.suid_dev,
        threads: options.threads.unwrap_or(defaults.threads),
        source: format!("vmroot:{image}"),
    };
    if options.driver == Driver::Auto {
        tracing::info!("mounting by FUSE");
    }
    let mount = Mount::new(Arc::new(opened.root), directory, &mount_options).map_err(vmroot::Error::from)?;
    let unmounter = mount.unmounter();
    let place = directory.display().to_string();
    signals::on_signal(move |_| match unmounter.unmount() {
        Ok(Unmounted::Gone) => {}
        Ok(Unmounted::Busy) => output::note(&format!("{place}: in use; it is gone when the last user is")),
        Err(error) => output::error(&error.to_string()),
    })?;
    if serving {
        say_ready()?;
    }
    mount.wait().map_err(vmroot::Error::from)?;
    Ok(())
}

/// Starts this program again in the background, and waits until the mount answers.
fn detach() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(SERVING, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // A process group of its own: Ctrl-C at the terminal is for whoever is in the foreground.
    let mut child = command.process_group(0).spawn().context("starting the process that serves the mount")?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim_end() == READY {
        return Ok(());
    }
    // It has said what is wrong.
    let status = child.wait()?;
    Err(Silent(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)).into())
}

/// Tells the process that waits, and lets go of its terminal and pipes: a shell that reads them would wait for us.
fn say_ready() -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Refused only where the process leads a session already, which is as good.
    let _ = rustix::process::setsid();
    Ok(())
}

/// Takes a mount away: by umount(2) where we may, by `fusermount3` where only it may.
pub(crate) fn unmount(directory: &Path) -> anyhow::Result<()> {
    let failed = || directory.display().to_string();
    match rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let mut command = Command::new("fusermount3");
            let status = command.args(["-u", "--"]).arg(directory).status().context("starting fusermount3")?;
            // It has said what is wrong.
            if status.success() { Ok(()) } else { Err(Silent(1).into()) }
        }
        Err(error) => Err(io::Error::from(error)).with_context(failed),
    }
}
