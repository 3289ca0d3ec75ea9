//! The init that a guest needs on top of its image.
//!
//! The init is the program `vmroot-init` of `crates/guest-init`. It is built with this crate, for each architecture that
//! the toolchain has a target for, and is part of the program that uses this crate, so that there is no file to find.

mod elf;
mod error;

pub use elf::check_program;
pub use error::{Error, Result};

/// Where the init is in a guest.
pub const INIT: &str = "/sbin/vmroot-init";
/// Where the config is in a guest.
pub const CONFIG: &str = "/etc/vmroot/config.json";

/// Architectures by their names in images, and the programs for them, where they could be built.
static INITS: [(&str, Option<&[u8]>); 2] = include!(concat!(env!("OUT_DIR"), "/inits.rs"));

/// The init for guests of `architecture`, by its name in images: a static program.
///
/// # Errors
/// [`Error::NoInit`] when none was built in.
pub fn init_for(architecture: &str) -> Result<&'static [u8]> {
    let built = INITS.iter().find(|(name, _)| *name == architecture).and_then(|(_, init)| *init);
    built.ok_or_else(|| Error::NoInit { architecture: architecture.to_owned() })
}

/// The Rust target that an init for `architecture` is built for; none for architectures that have no init.
fn rust_target(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("x86_64-unknown-linux-musl"),
        "arm64" => Some("aarch64-unknown-linux-musl"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_for_its_architecture() {
        let host = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        assert!(init_for(host).is_ok());
        for (architecture, init) in INITS {
            assert!(rust_target(architecture).is_some());
            assert!(init.is_none_or(|init| check_program(init, architecture).is_ok()), "{architecture}");
        }
    }

    #[test]
    fn what_is_not_built_in_is_named_with_the_remedy() {
        let error = init_for("riscv64").unwrap_err().to_string();
        assert_eq!(error, "this vmroot has no init for riscv64: give --init FILE");
        let error = Error::NoInit { architecture: "arm64".to_owned() }.to_string();
        assert!(error.ends_with("`rustup target add aarch64-unknown-linux-musl`, or give --init FILE"), "{error}");
    }
}
