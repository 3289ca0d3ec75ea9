//! What a kernel and a machine are made for.

use std::fmt;

/// An architecture that guests are booted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64, `amd64` in images.
    X86_64,
    /// 64-bit ARM, `arm64` in images.
    Aarch64,
}

impl Architecture {
    /// The architecture with this name in images; nothing for others.
    pub fn of_image(name: &str) -> Option<Self> {
        match name {
            "amd64" => Some(Self::X86_64),
            "arm64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The name in images.
    pub fn image_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Whether it is this program's own.
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
