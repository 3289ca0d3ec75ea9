//! The parts of an image's name, for callers that address a registry by parts.

use crate::{Error, Reference, Result};

/// The parts of an image's name, with Docker's defaults. [`split_image`] creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The registry: a host and optionally a port. `docker.io` if the name has none.
    pub registry: String,
    /// The repository within the registry, such as `library/alpine`.
    pub repository: String,
    /// The digest, else the tag. `None` if the name has neither.
    pub tag_or_digest: Option<String>,
}

/// Splits the name of an image into its registry, its repository, and its tag or digest.
///
/// ```
/// let name = vmroot_model::split_image("localhost:5000/team/app:v1")?;
/// assert_eq!((name.registry.as_str(), name.repository.as_str()), ("localhost:5000", "team/app"));
/// assert_eq!(name.tag_or_digest.as_deref(), Some("v1"));
/// # Ok::<(), vmroot_model::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidImageName`] for a text that [`Reference::parse`] refuses.
pub fn split_image(text: &str) -> Result<ImageName> {
    let reference = Reference::parse(text).map_err(|reason| Error::InvalidImageName { reason: Box::new(reason) })?;
    let digest = reference.digest().map(ToString::to_string);
    Ok(ImageName {
        registry: reference.domain().to_owned(),
        repository: reference.path().to_owned(),
        tag_or_digest: digest.or_else(|| reference.tag().map(str::to_owned)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_with_defaults() {
        let sha256 = format!("sha256:{}", "0".repeat(64));
        let sha512 = format!("sha512:{}", "0".repeat(128));
        for (text, registry, repository, tag_or_digest) in [
            ("gcr.io/skia-public/base:prod", "gcr.io", "skia-public/base", Some("prod")),
            ("gcr.io/skia-public/base", "gcr.io", "skia-public/base", None),
            (&format!("gcr.io/a/b@{sha256}"), "gcr.io", "a/b", Some(sha256.as_str())),
            (&format!("gcr.io/a/b@{sha512}"), "gcr.io", "a/b", Some(sha512.as_str())),
            (&format!("gcr.io/a/b:tag@{sha256}"), "gcr.io", "a/b", Some(sha256.as_str())),
            ("localhost:5000/x", "localhost:5000", "x", None),
            ("localhost/x:1", "localhost", "x", Some("1")),
            ("alpine", "docker.io", "library/alpine", None),
            ("library/alpine:3.20", "docker.io", "library/alpine", Some("3.20")),
            ("user/app:v1", "docker.io", "user/app", Some("v1")),
        ] {
            let name = split_image(text).unwrap();
            assert_eq!((name.registry.as_str(), name.repository.as_str()), (registry, repository), "{text}");
            assert_eq!(name.tag_or_digest.as_deref(), tag_or_digest, "{text}");
        }
    }

    #[test]
    fn errors_have_the_text_and_the_reason() {
        let error = split_image("gcr.io/a/b:").unwrap_err().to_string();
        assert_eq!(error, "invalid Docker image format: invalid image reference \"gcr.io/a/b:\": the tag is empty");
        assert!(split_image("gcr.io/a/b@sha256:short").is_err());
        assert!(split_image("").is_err());
    }
}
