//! Panics, which are errors of this program.

use crate::{console, error, shutdown};

/// Makes a panic report its message and power off as other errors do. Otherwise, a panic of PID 1 would be one of the
/// kernel.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        console::error(panic);
        if rustix::process::getpid().is_init() {
            shutdown::end(error::OWN_FAULT, false);
        }
        std::process::exit(error::OWN_FAULT);
    }));
}
