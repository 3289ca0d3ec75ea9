//! The child of PID 1, until it becomes the command.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use rustix::fs::{Gid, Mode, Uid, fchown};
use rustix::mount::{MountFlags, mount};
use rustix::process::{ioctl_tiocsctty, setsid, umask};
use rustix::stdio;
use rustix::system::uname;
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use vmroot_guest_config::{CONFIG, Pid1};
use vmroot_sys::enter_mount_namespace;
use vmroot_users::User;

use crate::config::Config;
use crate::environment::Environment;
use crate::kernel::{self, CommandLine};
use crate::{Error, Result, console, program, users};

/// Executes the command of the config with `arguments`, or reports why that failed.
pub(crate) fn run(arguments: &[OsString]) -> ! {
    let Err(error) = become_command(arguments);
    console::error(&error);
    process::exit(error.exit_code())
}

fn become_command(arguments: &[OsString]) -> Result<Infallible> {
    let config = Config::read(Path::new(CONFIG))?;
    let command = config.command(arguments)?;
    let user = users::resolve(&config, Path::new("/"))?;
    let hostname = uname().nodename().to_string_lossy().into_owned();
    let has_terminal = config.settings.has_terminal();
    let terminal = has_terminal.then(|| env::var("TERM").unwrap_or_default());
    let environment =
        Environment::new(&config.process.env, &hostname, terminal.as_deref(), user.home.as_deref().unwrap_or("/"));
    if config.settings.pid1 == Some(Pid1::Namespace) {
        show_own_processes()?;
    }
    umask(Mode::WGRP | Mode::WOTH);
    enter_directory(&config.process.working_dir)?;
    take_console(has_terminal, &user)?;
    drop_privileges(&user)?;
    execute(&command, &environment)
}

/// Executes the command in place of this program, PID 1, as root. An init of a machine needs the whole machine, and ends it
/// itself.
pub(crate) fn replace_init(config: &Config, arguments: &[OsString]) -> Result<Infallible> {
    let command = config.command(arguments)?;
    let hostname = uname().nodename().to_string_lossy().into_owned();
    let terminal = env::var("TERM").unwrap_or_default();
    // An init with this variable expects a container engine around it (https://systemd.io/CONTAINER_INTERFACE).
    let variables: Vec<String> =
        config.process.env.iter().filter(|variable| !variable.starts_with("container=")).cloned().collect();
    let environment = Environment::new(&variables, &hostname, Some(&terminal), "/root");
    enter_directory(&config.process.working_dir)?;
    execute(&command, &environment)
}

/// Mounts the processes of this PID namespace over those of the machine, for this process and its children only.
fn show_own_processes() -> Result<()> {
    let failed = |what| move |source: std::io::Error| Error::System { what, source };
    enter_mount_namespace().map_err(failed("make a mount namespace"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, c"").map_err(|error| failed("mount /proc")(error.into()))
}

/// Changes to the working directory and creates it if it is missing, as container engines do.
fn enter_directory(directory: &str) -> Result<()> {
    let path = Path::new("/").join(directory);
    let entered = env::set_current_dir(&path).or_else(|missing| match fs::create_dir_all(&path) {
        Ok(()) => env::set_current_dir(&path),
        Err(_) => Err(missing),
    });
    entered.map_err(|source| Error::Io { path, source })
}

/// Starts a session and makes the console its terminal. Ctrl-C and job control need both.
fn take_console(terminal: bool, user: &User) -> Result<()> {
    setsid().map_err(|error| Error::System { what: "start a session", source: error.into() })?;
    if terminal {
        // A console that is not a terminal can still be written to.
        let _ = ioctl_tiocsctty(stdio::stdin());
    } else {
        console::set_byte_mode();
    }
    // The user must be able to open it again, for example through /dev/stdout.
    let _ = fchown(stdio::stdin(), Some(Uid::from_raw(user.uid)), None);
    Ok(())
}

/// Changes groups and user. The groups come first, because changing them needs root.
fn drop_privileges(user: &User) -> Result<()> {
    let failed = |what| move |error: rustix::io::Errno| Error::System { what, source: error.into() };
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups).map_err(failed("set the supplementary groups"))?;
    set_thread_gid(Gid::from_raw(user.gid)).map_err(failed("set the group"))?;
    set_thread_uid(Uid::from_raw(user.uid)).map_err(failed("set the user"))
}

fn execute(command: &[OsString], environment: &Environment) -> Result<Infallible> {
    let (name, arguments) = command.split_first().ok_or(Error::NoCommand)?;
    let file: PathBuf = program::find(name, environment.get("PATH").unwrap_or_default())?;
    let mut program = Command::new(&file);
    program.arg0(name).args(arguments).env_clear().envs(environment.iter());
    if CommandLine::read().trace {
        console::trace("exec", kernel::now());
    }
    let error = program.exec();
    Err(program::exec_error(name, &file, &error))
}
