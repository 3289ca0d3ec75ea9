//! Errors from choosing the guest's init.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from choosing the guest's init.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// This build contains no init for the architecture.
    #[error("this vmroot has no init for {architecture}: {reason}")]
    NoInit {
        /// The architecture, as images name it.
        architecture: String,
        /// The reason why the build of this crate embedded none.
        reason: &'static str,
    },
    /// The given init is not a program.
    #[error("not an ELF program")]
    NotAProgram,
    /// The given init is for another architecture than the image.
    #[error("a program for {actual}, and the image is for {architecture}")]
    OtherArchitecture {
        /// The program's architecture.
        actual: String,
        /// The image's architecture.
        architecture: String,
    },
}
