//! Names of images in all transports: `TRANSPORT:details`.

mod daemon;
mod storage;
mod tarball;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use vmroot_model::Reference;

pub use self::daemon::DaemonName;
pub use self::storage::{StorageName, StoreLocation};
pub use self::tarball::TarballName;
use crate::{Error, Format, ImageSelector, Result};

/// The end of a `docker://` name for an image that gets no tag.
const UNKNOWN_DIGEST: &str = "@@unknown-digest@@";

/// The transport of registries.
const DOCKER: &str = "docker";
/// The transport of Docker engines.
const DAEMON: &str = "docker-daemon";
/// The transport of the store of podman, buildah and CRI-O.
const STORAGE: &str = "containers-storage";
/// The transport of plain tars, each of which is a layer.
const TARBALL: &str = "tarball";
/// The transport of Singularity images.
const SIF: &str = "sif";
/// The transport of this program's own cache.
const CACHE: &str = "vmroot";

/// The name of an image in a transport, to read from or to write to.
///
/// | form | meaning | |
/// |---|---|---|
/// | `docker://NAME[:TAG][@DIGEST]` | a repository of a registry | |
/// | `docker://NAME@@unknown-digest@@` | a repository, for an image without a tag | write |
/// | `docker-archive:PATH[:NAME[:TAG]\|:@N]` | a tar from `docker save` | |
/// | `oci:PATH[:REF\|:@N]` | an OCI layout | |
/// | `oci-archive:PATH[:REF\|:@N]` | a tar of an OCI layout | |
/// | `dir:PATH` | a directory as skopeo writes it | |
/// | `docker-daemon:NAME:TAG` | an image of a Docker engine | |
/// | `docker-daemon:NAME@DIGEST`, `docker-daemon:sha256:HEX` | the same | read |
/// | `containers-storage:[STORE]{ID\|REF[@ID]}` | an image of podman, buildah or CRI-O | read |
/// | `tarball:FILE[:FILE…]` | plain tars, each of which is a layer; `-` is standard input | read |
/// | `sif:PATH` | a Singularity image | read |
/// | `vmroot:IMAGE` | an image of the cache | |
///
/// A path ends at its first colon, except in `dir:` and `sif:`. `@N` counts from 0, and is for reading only.
///
/// Unlike containers/image, a `docker://` name may have both a tag and a digest when it is read. The digest decides.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageName {
    /// A repository of a registry.
    Docker(Reference),
    /// A repository of a registry, in which an image is written without a tag. The reference has neither a tag nor a
    /// digest.
    Untagged(Reference),
    /// An image of a file or directory.
    Archive {
        /// The format.
        format: Format,
        /// The path of the file or directory.
        path: PathBuf,
        /// The selected image.
        selector: ImageSelector,
    },
    /// An image of a Docker engine.
    Daemon(DaemonName),
    /// An image of containers-storage.
    Storage(StorageName),
    /// Plain tars, each of which is a layer.
    Tarball(TarballName),
    /// The path of a Singularity image.
    Sif(PathBuf),
    /// An image of the cache: a reference, or an id or its beginning. It is not checked here.
    Cache(String),
}

impl ImageName {
    /// Returns whether `text` starts with the name of a transport and a colon. Such a text is a name of an
    /// [`ImageName`], not a reference.
    pub fn has_transport(text: &str) -> bool {
        text.split_once(':').is_some_and(|(transport, details)| match transport {
            DOCKER => details.starts_with("//"),
            CACHE => true,
            _ => is_local(transport),
        })
    }

    /// Returns whether `text` names an image outside of registries and of the cache: it starts with the name of a
    /// transport other than `docker` and `vmroot`. The rest of `text` is not checked.
    pub fn is_archive(text: &str) -> bool {
        text.split_once(':').is_some_and(|(transport, _)| is_local(transport))
    }

    /// Returns `text` with an absolute path, if it names an image of a file or directory by a path relative to the working
    /// directory. Any other text is returned as it is.
    ///
    /// ```
    /// use vmroot_transport::ImageName;
    ///
    /// let absolute = ImageName::with_absolute_path("oci:layout:tag");
    /// assert!(absolute.starts_with("oci:/") && absolute.ends_with("/layout:tag"));
    /// assert_eq!(ImageName::with_absolute_path("oci:/layout:tag"), "oci:/layout:tag");
    /// assert_eq!(ImageName::with_absolute_path("docker://layout:tag"), "docker://layout:tag");
    /// assert_eq!(ImageName::with_absolute_path("tarball:/a.tar:-"), "tarball:/a.tar:-");
    /// ```
    pub fn with_absolute_path(text: &str) -> String {
        let Some((transport, details)) = text.split_once(':') else { return text.to_owned() };
        let absolute = |path: &str| match std::path::absolute(path) {
            Ok(absolute) if !path.starts_with('/') && path != tarball::STANDARD_INPUT => absolute.display().to_string(),
            _ => path.to_owned(),
        };
        let details = match transport {
            TARBALL => details.split(':').map(absolute).collect::<Vec<_>>().join(":"),
            _ if transport == SIF || format_of(transport).is_some() => absolute(details),
            _ => return text.to_owned(),
        };
        format!("{transport}:{details}")
    }

    /// Parses `TRANSPORT:details`.
    ///
    /// # Errors
    /// [`Error::InvalidName`] if the transport is unknown, the path is empty, or the details are not of the transport's
    /// form.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: String| Error::InvalidName { name: text.to_owned(), reason };
        let (transport, details) = text.split_once(':').ok_or_else(|| invalid("it has no TRANSPORT:".to_owned()))?;
        let parsed = match transport {
            DOCKER => parse_docker(details),
            DAEMON => DaemonName::parse(details).map(Self::Daemon),
            STORAGE => StorageName::parse(details).map(Self::Storage),
            TARBALL => TarballName::parse(details).map(Self::Tarball),
            SIF => path(details).map(Self::Sif),
            CACHE if details.is_empty() => Err("the image is missing".to_owned()),
            CACHE => Ok(Self::Cache(details.to_owned())),
            _ => match format_of(transport) {
                Some(format) => parse_archive(format, details),
                None => Err(format!("unknown transport {transport:?}")),
            },
        };
        parsed.map_err(invalid)
    }

    /// Returns the path of a file or directory, or `None` for a transport without one path.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Archive { path, .. } | Self::Sif(path) => Some(path),
            _ => None,
        }
    }
}

impl FromStr for ImageName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(reference) => write!(f, "{DOCKER}://{reference}"),
            Self::Untagged(reference) => write!(f, "{DOCKER}://{reference}{UNKNOWN_DIGEST}"),
            Self::Archive { format, path, selector: ImageSelector::Only } => write!(f, "{format}:{}", path.display()),
            Self::Archive { format, path, selector } => write!(f, "{format}:{}:{selector}", path.display()),
            Self::Daemon(name) => write!(f, "{DAEMON}:{name}"),
            Self::Storage(name) => write!(f, "{STORAGE}:{name}"),
            Self::Tarball(name) => write!(f, "{TARBALL}:{name}"),
            Self::Sif(path) => write!(f, "{SIF}:{}", path.display()),
            Self::Cache(image) => write!(f, "{CACHE}:{image}"),
        }
    }
}

/// Returns whether a transport is neither a registry nor the cache.
fn is_local(transport: &str) -> bool {
    matches!(transport, DAEMON | STORAGE | TARBALL | SIF) || format_of(transport).is_some()
}

fn parse_docker(details: &str) -> std::result::Result<ImageName, String> {
    let text = details.strip_prefix("//").ok_or("docker: requires //NAME")?;
    let parse = |text| Reference::parse(text).map_err(|error| error.to_string());
    let Some(text) = text.strip_suffix(UNKNOWN_DIGEST) else { return parse(text).map(ImageName::Docker) };
    let reference = parse(text)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err(format!("{UNKNOWN_DIGEST} follows a repository without a tag and a digest"));
    }
    Ok(ImageName::Untagged(reference))
}

fn parse_archive(format: Format, details: &str) -> std::result::Result<ImageName, String> {
    let (text, selector) = match details.split_once(':') {
        Some((path, selector)) if format != Format::Dir => (path, Some(selector)),
        _ => (details, None),
    };
    let path = path(text)?;
    let selector = match selector {
        None => ImageSelector::Only,
        // A layout's image may have no name: containers/image writes its own names with the colon.
        Some("") if format != Format::DockerArchive => ImageSelector::Only,
        Some(selector) => parse_selector(format, selector)?,
    };
    Ok(ImageName::Archive { format, path, selector })
}

fn path(text: &str) -> std::result::Result<PathBuf, String> {
    if text.is_empty() { Err("the path is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn format_of(transport: &str) -> Option<Format> {
    let formats = [Format::DockerArchive, Format::OciLayout, Format::OciArchive, Format::Dir];
    formats.into_iter().find(|format| format.transport() == transport)
}

fn parse_selector(format: Format, details: &str) -> std::result::Result<ImageSelector, String> {
    if let Some(index) = details.strip_prefix('@') {
        let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        let index = index.parse().ok().filter(|_| digits);
        return index.map(ImageSelector::Index).ok_or_else(|| format!("{details:?} is not @ and a number"));
    }
    if format == Format::DockerArchive {
        let reference = Reference::parse(details).map_err(|error| error.to_string())?;
        if reference.digest().is_some() {
            return Err("the images of docker-archive: have no digests".to_owned());
        }
        let tag = reference.tag().unwrap_or("latest");
        let tagged = reference.with_tag(tag).map_err(|error| error.to_string())?;
        return Ok(ImageSelector::Name(tagged.familiar()));
    }
    if is_ref_name(details) {
        Ok(ImageSelector::Name(details.to_owned()))
    } else {
        Err(format!("{details:?} is not a valid image name in an OCI layout"))
    }
}

/// Returns whether this is a valid `org.opencontainers.image.ref.name`: components joined by slashes, each of runs of
/// letters and digits joined by one of `-._:@+` or by `--` (OCI image-spec, annotations.md).
fn is_ref_name(text: &str) -> bool {
    let is_separator = |c: char| "-._:@+".contains(c);
    text.split('/').all(|component| {
        let component = component.replace("--", "-");
        component.split(is_separator).all(|run| !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_each_transport_and_its_details() {
        let archive = |format, path: &str, selector| ImageName::Archive { format, path: path.into(), selector };
        let name = |name: &str| ImageSelector::Name(name.to_owned());
        for (text, wanted) in [
            ("docker-archive:/tmp/a.tar", archive(Format::DockerArchive, "/tmp/a.tar", ImageSelector::Only)),
            ("docker-archive:a.tar:alpine", archive(Format::DockerArchive, "a.tar", name("alpine:latest"))),
            (
                "docker-archive:a.tar:localhost:5000/a:b",
                archive(Format::DockerArchive, "a.tar", name("localhost:5000/a:b")),
            ),
            ("docker-archive:a.tar:@12", archive(Format::DockerArchive, "a.tar", ImageSelector::Index(12))),
            ("oci:dir/x", archive(Format::OciLayout, "dir/x", ImageSelector::Only)),
            ("oci:dir:latest", archive(Format::OciLayout, "dir", name("latest"))),
            (
                "oci:dir:docker.io/library/a--b_c:3.20@x+y",
                archive(Format::OciLayout, "dir", name("docker.io/library/a--b_c:3.20@x+y")),
            ),
            ("oci-archive:a.tar:@0", archive(Format::OciArchive, "a.tar", ImageSelector::Index(0))),
            ("dir:a:b", archive(Format::Dir, "a:b", ImageSelector::Only)),
            ("oci:dir:", archive(Format::OciLayout, "dir", ImageSelector::Only)),
            ("oci:/", archive(Format::OciLayout, "/", ImageSelector::Only)),
            ("oci:dir:notlatest@1", archive(Format::OciLayout, "dir", name("notlatest@1"))),
            ("oci-archive:a.tar:", archive(Format::OciArchive, "a.tar", ImageSelector::Only)),
            (
                "docker-archive:a.tar:docker.io/library/busybox:latest",
                archive(Format::DockerArchive, "a.tar", name("busybox:latest")),
            ),
            ("docker://alpine:3.20", ImageName::Docker(Reference::parse("alpine:3.20").unwrap())),
            ("docker://alpine@@unknown-digest@@", ImageName::Untagged(Reference::parse("alpine").unwrap())),
            ("docker-daemon:a/b:c", ImageName::Daemon(DaemonName::Reference(Reference::parse("a/b:c").unwrap()))),
            ("containers-storage:[/a]b/c", ImageName::Storage(StorageName::parse("[/a]b/c").unwrap())),
            ("tarball:a.tar:-", ImageName::Tarball(TarballName::parse("a.tar:-").unwrap())),
            ("sif:a:b.sif", ImageName::Sif("a:b.sif".into())),
            ("vmroot:alpine:3.20", ImageName::Cache("alpine:3.20".to_owned())),
        ] {
            let parsed = ImageName::parse(text).unwrap();
            assert_eq!(parsed, wanted, "{text}");
            assert_eq!(ImageName::parse(&parsed.to_string()).unwrap(), wanted, "{text}");
            assert!(ImageName::has_transport(text), "{text}");
            let elsewhere = matches!(wanted, ImageName::Docker(_) | ImageName::Untagged(_) | ImageName::Cache(_));
            assert_eq!(ImageName::is_archive(text), !elsewhere, "{text}");
        }
    }

    /// A malformed name still tells where its image would be.
    #[test]
    fn is_archive_looks_at_the_transport_only() {
        for text in ["oci:", "docker-archive:a.tar:@-1", "dir:a b"] {
            assert!(ImageName::is_archive(text), "{text}");
        }
        for text in ["docker://BAD NAME", "docker:latest", "oci", "", "ostree:x"] {
            assert!(!ImageName::is_archive(text), "{text}");
        }
    }

    #[test]
    fn errors_state_the_reason() {
        let digest = format!("docker-archive:a.tar:alpine@sha256:{}", "0".repeat(64));
        for (text, reason) in [
            ("alpine", "no TRANSPORT"),
            ("ostree:x", "unknown transport \"ostree\""),
            ("docker:alpine", "requires //NAME"),
            ("docker://UPPER/case", "UPPER"),
            ("oci:", "path is empty"),
            ("docker-archive::alpine", "path is empty"),
            ("docker-archive:a.tar:", "reference"),
            ("docker-archive:a.tar:@", "not @ and a number"),
            ("docker-archive:a.tar:@-1", "not @ and a number"),
            ("oci:a:@+1", "not @ and a number"),
            (&digest, "no digests"),
            ("oci:a:b c", "not a valid image name"),
            ("oci:a:b---c", "not a valid image name"),
            ("oci:a:/b", "not a valid image name"),
            ("docker-archive:a.tar:busybox@0", "digest"),
            ("docker-archive:a.tar:@0:busybox", "not @ and a number"),
            ("oci:a:invalid'image!value@", "not a valid image name"),
            ("oci:a:@-3", "not @ and a number"),
            ("docker://a:b@@unknown-digest@@", "without a tag"),
            (&format!("docker://a@sha256:{}@@unknown-digest@@", "0".repeat(64)), "without a tag"),
            ("docker-daemon:busybox", "tag or a digest"),
            ("containers-storage:[/a]", "image is missing"),
            ("tarball:a::b", "path is empty"),
            ("sif:", "path is empty"),
            ("vmroot:", "image is missing"),
        ] {
            let error = ImageName::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(&format!("{text:?}")), "{text}: {error}");
        }
    }

    #[test]
    fn references_have_no_transport() {
        for text in ["alpine", "alpine:3.20", "localhost:5000/x", "docker:latest", "ocid:latest"] {
            assert!(!ImageName::has_transport(text), "{text}");
        }
    }
}
