//! Tests that a machine may be unable to run: skipped by name, or failed where nothing may be skipped.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::overlay::Overlay;

/// Set to `1`, a skip is a failure.
pub const NO_SKIP: &str = "VMROOT_TEST_NO_SKIP";

/// Names a file to which each skip adds its reason as a line, for a summary after the run.
pub const SKIP_LIST: &str = "VMROOT_TEST_SKIP_LIST";

/// Says that a test is skipped and why; gives `true`, for `return` to follow.
///
/// # Panics
/// With [`NO_SKIP`] set to 1.
#[track_caller]
pub fn because(reason: &str) -> bool {
    assert!(std::env::var_os(NO_SKIP).is_none_or(|value| value != "1"), "may not be skipped: {reason}");
    // The test harness keeps this line until the end and shows it with --nocapture; nothing depends on it.
    let _ = writeln!(io::stderr(), "skipped: {reason}");
    if let Some(list) = std::env::var_os(SKIP_LIST)
        && let Ok(mut list) = OpenOptions::new().append(true).create(true).open(list)
    {
        // Only the summary would lack it.
        let _ = writeln!(list, "{reason}");
    }
    true
}

/// Whether a test has to be skipped for want of root's right to mount: `if skip::needs_root() { return; }`.
#[track_caller]
pub fn needs_root() -> bool {
    static MAY_MOUNT: OnceLock<bool> = OnceLock::new();
    let may_mount = *MAY_MOUNT.get_or_init(|| rustix::process::geteuid().is_root() && Overlay::of_layers(&[]).is_ok());
    !may_mount && because("needs root with the right to mount overlayfs")
}

/// Whether a test has to be skipped because a program is not installed.
#[track_caller]
pub fn needs_program(name: &str) -> bool {
    let quiet =
        Command::new(name).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match quiet {
        Ok(mut child) => {
            // Whatever it answers: it is there.
            let _ = child.wait();
            false
        }
        Err(_) => because(&format!("needs the program {name}")),
    }
}
