//! What can go wrong.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No init is embedded for this architecture.
    #[error("this vmroot has no init for {architecture}: {reason}; {}", remedy(architecture))]
    NoInit {
        /// Its name in images.
        architecture: String,
        /// Why the build of this crate embedded none.
        reason: &'static str,
    },
    /// A program that was to be the init is none.
    #[error("not an ELF program")]
    NotAProgram,
    /// A program that was to be the init is for other guests.
    #[error("a program for {actual}, and the image is for {architecture}")]
    OtherArchitecture {
        /// What the program is for.
        actual: String,
        /// What the image is for.
        architecture: String,
    },
}

fn remedy(architecture: &str) -> String {
    match crate::rust_target(architecture) {
        Some(target) => format!("rebuild it after `rustup target add {target}`, or give --init FILE"),
        None => "give --init FILE".to_owned(),
    }
}
