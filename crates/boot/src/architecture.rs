//! Architectures of kernels and machines.

use std::fmt;

/// An architecture of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// x86-64, named `amd64` in images.
    X86_64,
    /// 64-bit ARM, named `arm64` in images.
    Aarch64,
}

impl Architecture {
    /// Returns the architecture with this name in images, if it is supported.
    pub fn of_image(name: &str) -> Option<Self> {
        match name {
            "amd64" => Some(Self::X86_64),
            "arm64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Returns the name in images.
    pub fn image_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Returns whether this is the host's architecture.
    pub fn is_host(self) -> bool {
        std::env::consts::ARCH == self.to_string()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        })
    }
}
