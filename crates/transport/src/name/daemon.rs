//! Names of images of a Docker engine: `docker-daemon:…`.

use std::fmt;

use vmroot_model::{Algorithm, Digest, Reference};

/// The repository name that the engine reserves for image ids.
const RESERVED: &str = "docker.io/library/sha256";

/// The name of an image of a Docker engine: `NAME:TAG`, `NAME@DIGEST` or `sha256:HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonName {
    /// The id of an image, the digest of its config. An engine can read such a name, but not write it.
    Id(Digest),
    /// A reference with either a tag or a digest. An engine can write only names with a tag.
    Reference(Reference),
}

impl DaemonName {
    /// Parses the part of a name after `docker-daemon:`. Returns the reason if it is invalid.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match Digest::parse(text) {
            Ok(digest) if digest.algorithm() == Algorithm::Sha256 => return Ok(Self::Id(digest)),
            Ok(_) => return Err("the id of an image has the algorithm sha256".to_owned()),
            Err(_) if is_sha384(text) => return Err("the id of an image has the algorithm sha256".to_owned()),
            Err(_) => {}
        }
        let reference = Reference::parse(text).map_err(|error| error.to_string())?;
        if reference.name() == RESERVED {
            return Err("the repository sha256 is reserved for ids, which have 64 hex digits".to_owned());
        }
        match (reference.tag(), reference.digest()) {
            (None, None) => Err("it needs a tag or a digest".to_owned()),
            (Some(_), Some(_)) => Err("it has a tag and a digest; the engine ignores one of them".to_owned()),
            _ => Ok(Self::Reference(reference)),
        }
    }
}

/// Returns whether the text is a digest of an algorithm that this program does not verify, and not a tag.
fn is_sha384(text: &str) -> bool {
    let hex = text.strip_prefix("sha384:");
    hex.is_some_and(|hex| hex.len() == 96 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

impl fmt::Display for DaemonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(digest) => write!(f, "{digest}"),
            Self::Reference(reference) => f.write_str(&reference.familiar()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn an_id_or_a_reference_with_a_tag_or_a_digest() {
        let digest = format!("sha256:{HEX}");
        assert_eq!(DaemonName::parse(&digest), Ok(DaemonName::Id(Digest::parse(&digest).unwrap())));
        for (text, wanted) in [
            ("busybox:latest", "docker.io/library/busybox:latest".to_owned()),
            ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest".to_owned()),
            ("example.com/ns/foo:bar", "example.com/ns/foo:bar".to_owned()),
            (&format!("busybox@{digest}"), format!("docker.io/library/busybox@{digest}")),
        ] {
            let parsed = DaemonName::parse(text).unwrap();
            let DaemonName::Reference(reference) = &parsed else { panic!("{text}") };
            assert_eq!(reference.to_string(), wanted, "{text}");
            assert_eq!(DaemonName::parse(&parsed.to_string()).unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn ambiguous_names_are_refused() {
        for text in [
            "".to_owned(),
            "busybox".to_owned(),
            "UPPERCASEISINVALID".to_owned(),
            HEX.to_owned(),
            "sha256:ab".to_owned(),
            format!("sha256:{HEX}ab"),
            format!("sha256:XX{}", &HEX[2..]),
            format!("sha384:{HEX}{}", &HEX[..32]),
            format!("sha512:{HEX}{HEX}"),
            format!("busybox:latest@sha256:{HEX}"),
            "docker.io/library/sha256:latest".to_owned(),
        ] {
            assert!(DaemonName::parse(&text).is_err(), "{text}");
        }
    }
}
