//! The names of images in policies (containers-policy.json(5), "Supported transports and their scopes").

use std::fs;
use std::io;
use std::path::Path;

use vmroot_model::Reference;
use vmroot_signatures::{ImageIdentity, PathTransport, StorageImage};

use crate::name::{DaemonName, StorageName};
use crate::{Error, Format, ImageName, ImageSelector, Result};

impl ImageName {
    /// Returns the name of the image in a policy. A path is resolved, because policies have paths without links.
    ///
    /// # Errors
    /// - [`Error::Io`]: the path cannot be resolved.
    /// - [`Error::Name`]: a policy cannot have the name.
    /// - [`Error::InvalidName`]: the image has no name of its own: it is one of the cache or of containers-storage, or has
    ///   neither a tag nor a digest.
    pub fn policy_identity(&self) -> Result<ImageIdentity> {
        match self {
            Self::Docker(reference) => of_reference(reference),
            Self::Archive { format: Format::DockerArchive, selector, .. } => Ok(of_docker_archive(selector)),
            Self::Archive { format: Format::OciLayout, path, .. } => of_path(PathTransport::Oci, path),
            Self::Archive { format: Format::OciArchive, path, .. } => of_path(PathTransport::OciArchive, path),
            Self::Archive { format: Format::Dir, path, .. } => of_path(PathTransport::Dir, path),
            Self::Daemon(DaemonName::Reference(reference)) => Ok(ImageIdentity::docker_daemon(reference)?),
            Self::Daemon(DaemonName::Id(_)) => Ok(ImageIdentity::docker_daemon_id()),
            Self::Tarball(_) => Ok(ImageIdentity::tarball()),
            Self::Sif(path) => of_path(PathTransport::Sif, path),
            Self::Untagged(_) | Self::Storage(_) | Self::Cache(_) => {
                let reason = "a policy has no name for it".to_owned();
                Err(Error::InvalidName { name: self.to_string(), reason })
            }
        }
    }
}

/// Returns the identity of an image by the name that its source had when it was loaded into a cache.
///
/// Of a name that is not a valid [`ImageName`], such as one with a layout's odd name of an image, the transport and the
/// path count.
///
/// # Errors
/// A policy has no name for it.
pub fn identity_of_origin(origin: &str) -> Result<ImageIdentity> {
    let (transport, details) = origin.split_once(':').unwrap_or((origin, ""));
    let path = details.split(':').next().unwrap_or_default();
    match (ImageName::parse(origin), transport) {
        (Ok(ImageName::Storage(name)), _) => Ok(of_storage(&name)),
        (Ok(name), _) => name.policy_identity(),
        (Err(_), "oci") => of_path(PathTransport::Oci, path.as_ref()),
        (Err(_), "oci-archive") => of_path(PathTransport::OciArchive, path.as_ref()),
        (Err(_), "docker-archive") => Ok(ImageIdentity::docker_archive(None)),
        (Err(error), _) => Err(error),
    }
}

/// Returns the identity of an image of containers-storage, by its name alone. The default driver is the usual one.
fn of_storage(name: &StorageName) -> ImageIdentity {
    let store = name.store.as_ref();
    let driver = store.and_then(|store| store.driver.as_deref()).unwrap_or("overlay");
    let root = store.and_then(|store| store.root.as_deref()).unwrap_or(Path::new("/var/lib/containers/storage"));
    let id = name.id.as_deref();
    ImageIdentity::containers_storage(StorageImage { driver, root, reference: name.reference.as_ref(), id })
}

/// Returns the identity of an image in a registry. Without a tag and a digest, the tag is `latest`.
pub(crate) fn of_reference(reference: &Reference) -> Result<ImageIdentity> {
    let tagged = match reference.digest() {
        Some(_) => None,
        None => reference.tag_or_default().and_then(|tag| reference.with_tag(tag).ok()),
    };
    Ok(ImageIdentity::docker(tagged.as_ref().unwrap_or(reference))?)
}

/// Returns the identity of an image at a path.
pub(crate) fn of_path(transport: PathTransport, path: &Path) -> Result<ImageIdentity> {
    let resolved = match fs::canonicalize(path) {
        // The origin of an image in the cache can be gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(path),
        resolved => resolved,
    };
    let resolved = resolved.map_err(Error::io("resolve", path))?;
    Ok(ImageIdentity::path(transport, &resolved)?)
}

fn of_docker_archive(selector: &ImageSelector) -> ImageIdentity {
    let reference = match selector {
        ImageSelector::Name(name) => Reference::parse(name).ok(),
        ImageSelector::Only | ImageSelector::Index(_) => None,
    };
    ImageIdentity::docker_archive(reference.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> String {
        ImageName::parse(name).unwrap().policy_identity().unwrap().to_string()
    }

    #[test]
    fn each_transport_has_an_identity() {
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        let link = path.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let (path, link) = (path.display(), link.display());
        assert_eq!(identity("docker://busybox"), "docker:docker.io/library/busybox:latest");
        assert_eq!(identity("docker://reg.test/x:1"), "docker:reg.test/x:1");
        assert_eq!(identity(&format!("dir:{link}")), format!("dir:{path}"));
        assert_eq!(identity(&format!("oci:{link}:name")), format!("oci:{path}"));
        assert_eq!(identity("docker-archive:a.tar:busybox"), "docker-archive:");
        assert_eq!(identity("docker-daemon:busybox:1"), "docker-daemon:docker.io/library/busybox:1");
        assert_eq!(identity("tarball:-"), "tarball:");
        let stored = identity_of_origin("containers-storage:[vfs@/s]x:1").unwrap();
        assert_eq!(stored.to_string(), "containers-storage:[vfs@/s]docker.io/library/x:1");
        let odd = identity_of_origin(&format!("oci:{link}:a name of its own")).unwrap();
        assert_eq!(odd.to_string(), format!("oci:{path}"));
        for name in ["vmroot:x", "containers-storage:x", "docker://x@@unknown-digest@@", "dir:/"] {
            ImageName::parse(name).unwrap().policy_identity().unwrap_err();
        }
    }
}
