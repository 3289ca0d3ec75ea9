//! Skipping of tests that the machine cannot run. A skip can be made a failure.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::overlay::Overlay;

/// The variable that makes a skip a failure if set to `1`.
pub const NO_SKIP: &str = "VMROOT_TEST_NO_SKIP";

/// The variable with the path of a file to which each skip appends its reason, for a summary after the run.
pub const SKIP_LIST: &str = "VMROOT_TEST_SKIP_LIST";

/// Reports that a test is skipped and why. Returns `true`, for use in `return` conditions.
///
/// # Panics
/// If [`NO_SKIP`] is `1`.
#[track_caller]
pub fn because(reason: &str) -> bool {
    assert!(std::env::var_os(NO_SKIP).is_none_or(|value| value != "1"), "may not be skipped: {reason}");
    // The test harness shows this line only with --nocapture. Errors are ignored, because nothing depends on it.
    let _ = writeln!(io::stderr(), "skipped: {reason}");
    if let Some(list) = std::env::var_os(SKIP_LIST)
        && let Ok(mut list) = OpenOptions::new().append(true).create(true).open(list)
    {
        // Errors are ignored: only the summary would lack the line.
        let _ = writeln!(list, "{reason}");
    }
    true
}

/// Returns whether a test must be skipped because overlayfs cannot be mounted, which needs root.
///
/// Usage: `if skip::needs_root() { return; }`.
#[track_caller]
pub fn needs_root() -> bool {
    static MAY_MOUNT: OnceLock<bool> = OnceLock::new();
    let may_mount = *MAY_MOUNT.get_or_init(|| rustix::process::geteuid().is_root() && Overlay::of_layers(&[]).is_ok());
    !may_mount && because("needs root with the right to mount overlayfs")
}

/// Returns whether a test must be skipped because a program is not installed.
#[track_caller]
pub fn needs_program(name: &str) -> bool {
    let quiet =
        Command::new(name).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match quiet {
        Ok(mut child) => {
            // The exit status is ignored: the program exists.
            let _ = child.wait();
            false
        }
        Err(_) => because(&format!("needs the program {name}")),
    }
}
