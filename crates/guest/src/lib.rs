//! The init that a guest needs in addition to its image.
//!
//! It is the program `vmroot-init` of `crates/guest-init`. The build of this crate builds it for each architecture that
//! the toolchain supports, and embeds it, so that there is no separate file.

mod elf;
mod error;

pub use elf::check_program;
pub use error::{Error, Result};

/// Architectures by their names in images, with the programs that could be built.
static INITS: [(&str, Option<&[u8]>); 2] = include!(concat!(env!("OUT_DIR"), "/inits.rs"));

/// Returns the init for guests of `architecture`, by its name in images. It is a static program.
///
/// # Errors
/// [`Error::NoInit`] if none is embedded.
pub fn init_for(architecture: &str) -> Result<&'static [u8]> {
    let built = INITS.iter().find(|(name, _)| *name == architecture).and_then(|(_, init)| *init);
    built.ok_or_else(|| Error::NoInit { architecture: architecture.to_owned() })
}

/// Returns the Rust target of the init for `architecture`, or `None` if there is no init for it.
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
    fn embedded_inits_are_for_their_architecture() {
        let host = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        assert!(init_for(host).is_ok());
        for (architecture, init) in INITS {
            assert!(rust_target(architecture).is_some());
            assert!(init.is_none_or(|init| check_program(init, architecture).is_ok()), "{architecture}");
        }
    }

    #[test]
    fn the_error_for_a_missing_init_suggests_a_remedy() {
        let error = init_for("riscv64").unwrap_err().to_string();
        assert_eq!(error, "this vmroot has no init for riscv64: give --init FILE");
        let error = Error::NoInit { architecture: "arm64".to_owned() }.to_string();
        assert!(error.ends_with("`rustup target add aarch64-unknown-linux-musl`, or give --init FILE"), "{error}");
    }
}
