//! The init that a guest needs in addition to its image.
//!
//! It is the program `vmroot-init` of the crate `vmroot-guest-init`. The build of this crate builds it from the sources
//! in its package for each architecture that the toolchain can link static programs for, and embeds it, so that there
//! is no separate file. The musl targets make the smallest programs: `rustup target add x86_64-unknown-linux-musl
//! aarch64-unknown-linux-musl`. Without them, a static glibc is used if the C compiler has it.
//!
//! The environment variables `VMROOT_INIT_AMD64` and `VMROOT_INIT_ARM64` of a build name a file to embed instead. An
//! empty value leaves the program out. The build fails if the program can be linked but not built.

mod elf;
mod error;

pub use elf::check_program;
pub use error::{Error, Result};

/// Architectures by their names in images, with the programs, or the reasons why there is none.
static INITS: [(&str, std::result::Result<&[u8], &str>); 2] = include!(concat!(env!("OUT_DIR"), "/inits.rs"));

/// Returns the init for guests of `architecture`, by its name in images. It is a static program.
///
/// # Errors
/// [`Error::NoInit`] if none is embedded.
pub fn init_for(architecture: &str) -> Result<&'static [u8]> {
    let known = INITS.iter().find(|(name, _)| *name == architecture);
    let built = known.map_or(Err("it is not an architecture of guests"), |(_, init)| *init);
    built.map_err(|reason| Error::NoInit { architecture: architecture.to_owned(), reason })
}

/// Returns the Rust target of the init for `architecture`, or `None` if there is no init for it.
pub fn rust_target(architecture: &str) -> Option<&'static str> {
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
            assert!(init.is_err() || check_program(init.unwrap(), architecture).is_ok(), "{architecture}");
        }
    }

    #[test]
    fn the_error_for_a_missing_init_says_why() {
        let error = init_for("riscv64").unwrap_err().to_string();
        assert_eq!(error, "this vmroot has no init for riscv64: it is not an architecture of guests");
        assert_eq!((rust_target("arm64"), rust_target("riscv64")), (Some("aarch64-unknown-linux-musl"), None));
    }
}
