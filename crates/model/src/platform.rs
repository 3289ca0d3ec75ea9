//! Platforms of images, by the names of Go (OCI image-spec, image-index.md, "platform").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, json};

/// An operating system and an architecture, optionally with a variant, a version and features.
///
/// A platform from a document keeps the spelling of the document. [`Platform::normalised`] returns the spelling for
/// comparisons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The architecture by its GOARCH name, such as `amd64` or `arm64`. May be empty in a document.
    #[serde(default, deserialize_with = "json::null_as_default")]
    pub architecture: String,
    /// The operating system by its GOOS name, such as `linux`. May be empty in a document.
    #[serde(default, deserialize_with = "json::null_as_default")]
    pub os: String,
    /// The version of the operating system. Most Windows images have one, and few others do.
    ///
    /// In a wanted platform, an image with a version must have this one. On Windows, the versions are compared up to
    /// the build number.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// The features that the image requires, such as `win32k` on Windows, or `erofs` for layers that are EROFS images.
    ///
    /// In a wanted platform, the features that it has. Images that require other features do not match.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "json::non_null_list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the architecture, such as `v7` for `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// The architectures that [`Platform::linux`] accepts: the Linux ports of Go, by their GOARCH names.
const ARCHITECTURES: [&str; 13] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x",
];

impl Platform {
    /// Creates a platform, and normalises its parts.
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normalised_architecture(architecture, variant.unwrap_or_default());
        Self {
            os: normalised_os(os),
            architecture,
            variant: Some(variant).filter(|it| !it.is_empty()),
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// Returns the platform of this program, without a variant.
    pub fn host() -> Self {
        let architecture = match (std::env::consts::ARCH, cfg!(target_endian = "little")) {
            ("powerpc64", true) => "ppc64le",
            ("powerpc64", false) => "ppc64",
            ("mips", true) => "mipsle",
            ("mips64", true) => "mips64le",
            (other, _) => other,
        };
        Self::new(std::env::consts::OS, architecture, None)
    }

    /// Returns the platform of Linux on an architecture, such as `x86_64`, `arm64` or `arm/v7`.
    ///
    /// All usual names of architectures are accepted, with or without a variant.
    ///
    /// # Errors
    /// [`Error::UnsupportedArchitecture`] for an architecture without a Linux port of Go.
    pub fn linux(architecture: &str) -> Result<Self> {
        let unsupported = || Error::UnsupportedArchitecture { architecture: architecture.to_owned() };
        let platform = Self::parse(&format!("linux/{architecture}")).map_err(|_| unsupported())?;
        if !ARCHITECTURES.contains(&platform.architecture.as_str()) || platform.os_version.is_some() {
            return Err(unsupported());
        }
        Ok(platform)
    }

    /// Parses `os/architecture[/variant][:version]`, or an architecture for Linux, and normalises it. The version is that
    /// of the operating system.
    ///
    /// With an operating system, unknown names are accepted.
    ///
    /// # Errors
    /// [`Error::InvalidPlatform`] for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidPlatform { platform: text.to_owned(), reason };
        let (names, version) = match text.split_once(':') {
            Some((names, version)) => (names, Some(version)),
            None => (text, None),
        };
        let parts: Vec<&str> = names.split('/').collect();
        if parts.iter().copied().chain(version).any(str::is_empty) {
            return Err(invalid("a part is empty; expected os/architecture[/variant]"));
        }
        let is_name_byte = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        if !parts.iter().copied().chain(version).all(|it| it.bytes().all(is_name_byte)) {
            return Err(invalid("only letters, digits, '_', '.' and '-' are allowed"));
        }
        let platform = match parts[..] {
            [architecture] if version.is_none() => Self::linux(architecture)
                .map_err(|_| invalid("expected os/architecture[/variant], as in linux/arm64"))?,
            [_] => return Err(invalid("a version follows os/architecture[/variant]")),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(invalid("more than three parts; expected os/architecture[/variant]")),
        };
        Ok(Self { os_version: version.map(str::to_owned), ..platform })
    }

    /// Returns the platform in the spelling for comparisons. `x86_64` becomes `amd64`, `arm64/v8` becomes `arm64`, and
    /// `armhf` becomes `arm/v7`.
    #[must_use]
    pub fn normalised(&self) -> Self {
        Self {
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            ..Self::new(&self.os, &self.architecture, self.variant.as_deref())
        }
    }

    /// Returns the architecture and the variant, such as `arm/v7`, without the operating system.
    pub fn architecture_and_variant(&self) -> String {
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => format!("{}/{variant}", self.architecture),
            _ => self.architecture.clone(),
        }
    }

    /// Returns whether both the operating system and the architecture are empty.
    pub fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }
}

fn normalised_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

/// Returns the GOARCH name and the variant. The variant of an architecture's baseline (`v1` of amd64, `v8` of arm64)
/// becomes empty.
fn normalised_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    // Some documents have `7` instead of `v7`.
    let variant = if variant.starts_with(|it: char| it.is_ascii_digit()) { format!("v{variant}") } else { variant };
    let (name, variant) = match architecture.as_str() {
        "x86_64" | "x86-64" | "x64" | "amd64" => ("amd64", if variant == "v1" { "" } else { &*variant }),
        "aarch64" | "arm64" => ("arm64", if variant == "v8" || variant == "v8.0" { "" } else { &*variant }),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", ""),
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        "ppc64el" | "powerpc64le" => ("ppc64le", &*variant),
        "loongarch64" => ("loong64", &*variant),
        "mipsel" => ("mipsle", &*variant),
        "mips64el" => ("mips64le", &*variant),
        // The output of `uname -m`: armv5tejl, armv6l, armv7l, armv8l.
        other => match other.strip_prefix("armv").and_then(|it| it.bytes().next()) {
            Some(b'5') => ("arm", "v5"),
            Some(b'6') => ("arm", "v6"),
            Some(b'7') => ("arm", "v7"),
            Some(b'8') => ("arm", "v8"),
            _ => (other, &*variant),
        },
    };
    (name.to_owned(), variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture_and_variant())
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (given, normalised) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/X86-64", "linux/amd64"),
            ("linux/x64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armv7l", "linux/arm/v7"),
            ("linux/armv6l", "linux/arm/v6"),
            ("linux/armv5tejl", "linux/arm/v5"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm", "linux/arm"),
            ("linux/i386", "linux/386"),
            ("linux/i686", "linux/386"),
            ("linux/ppc64el", "linux/ppc64le"),
            ("linux/loongarch64", "linux/loong64"),
            ("linux/riscv64", "linux/riscv64"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("arm64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
        ] {
            assert_eq!(Platform::parse(given).unwrap().to_string(), normalised, "{given}");
        }
    }

    #[test]
    fn invalid_platforms_are_refused() {
        for (text, reason) in [
            ("", "empty"),
            ("linux/", "empty"),
            ("/amd64", "empty"),
            ("linux//v8", "empty"),
            ("linux/arm/v7/x", "more than three"),
            ("linux/a b", "only letters"),
            ("linux", "os/architecture"),
            ("linux/amd64:", "empty"),
            (":1", "empty"),
            ("amd64:1", "follows"),
            ("linux/amd64:1/2", "only letters"),
        ] {
            let error = Platform::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_version_follows_a_colon() {
        for (text, name, version) in [
            ("windows/amd64:10.0.20348.2402", "windows/amd64", "10.0.20348.2402"),
            ("linux/aarch64/v8:5", "linux/arm64", "5"),
            ("linux/arm/7:x-1", "linux/arm/v7", "x-1"),
        ] {
            let platform = Platform::parse(text).unwrap();
            assert_eq!(
                (platform.to_string().as_str(), platform.os_version.as_deref()),
                (name, Some(version)),
                "{text}"
            );
        }
        assert!(Platform::linux("arm64:5").is_err());
    }

    #[test]
    fn linux_accepts_only_known_architectures() {
        assert_eq!(Platform::linux("x86_64").unwrap().to_string(), "linux/amd64");
        assert_eq!(Platform::linux("arm/v6").unwrap().to_string(), "linux/arm/v6");
        for unknown in ["", "amd46", "arm64/v8/x", "wasm", "linux/arm64"] {
            let error = Platform::linux(unknown).unwrap_err().to_string();
            assert_eq!(error, format!("unsupported architecture: {unknown}"));
        }
    }

    #[test]
    fn the_host_is_a_linux_port() {
        let host = Platform::host();
        assert_eq!(Platform::linux(&host.architecture).unwrap(), host);
    }

    #[test]
    fn documents_keep_their_spelling() {
        let text =
            r#"{"architecture":"x86_64","os":"windows","os.version":"10.0.1","os.features":["win32k"],"variant":"v2"}"#;
        let platform: Platform = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&platform).unwrap(), text);
        assert_eq!(platform.normalised().to_string(), "windows/amd64/v2");
        assert_eq!(platform.normalised().os_version.as_deref(), Some("10.0.1"));
        let empty: Platform = serde_json::from_str(r#"{"os":null,"os.features":null,"variant":null}"#).unwrap();
        assert!(empty.is_empty());
    }
}
