//! `--init auto`: images whose command is an init.

use vmroot::guest::Pid1;
use vmroot::{ContainerFs, RuntimeConfig};

/// Commands that are inits of a machine: systemd, those of SysV and OpenRC, and that of busybox. Only whole paths count,
/// because entrypoints of other kinds are often called `init`.
const OF_MACHINES: [&str; 6] =
    ["/sbin/init", "/usr/sbin/init", "/bin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/bin/systemd"];

/// Names of inits for containers. They insist on being the first process, and end with their command.
const OF_CONTAINERS: [&str; 6] = ["tini", "tini-static", "dumb-init", "catatonit", "docker-init", "s6-svscan"];

/// Directories of s6-overlay, whose init is `/init`.
const S6_OVERLAY: [&str; 3] = ["/package/admin/s6-overlay", "/etc/s6-overlay", "/etc/s6/init"];

/// Programs of systemd.
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// Returns how the command of an image is a first process, or `None` if it is no init.
pub(super) fn role(root: &ContainerFs, runtime: &RuntimeConfig) -> Option<Pid1> {
    let command = runtime.command();
    let program: &str = command.first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    let has = |path: &&str| root.resolve_path(path.as_bytes()).is_ok();
    if OF_MACHINES.contains(&program) {
        Some(Pid1::Machine)
    } else if OF_CONTAINERS.contains(&name) || program == "/init" && S6_OVERLAY.iter().any(has) {
        Some(Pid1::Namespace)
    } else {
        None
    }
}

/// Returns whether a root has systemd, which needs an `/etc/machine-id`. It makes an id for each boot if the file is empty, but
/// cannot start on a read-only root without the file.
pub(super) fn needs_machine_id(root: &ContainerFs) -> bool {
    SYSTEMD.iter().any(|path| root.resolve_path(path.as_bytes()).is_ok())
}
