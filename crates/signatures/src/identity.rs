//! The names under which a policy finds an image (containers-policy.json(5), "Supported transports and their scopes").

use std::path::{Component, Path};

use vmroot_model::Reference;

use crate::{Error, Result};

/// The names of an image in a policy: its transport, its identity there, and the namespaces around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIdentity {
    transport: &'static str,
    identity: String,
    namespaces: Vec<String>,
    reference: Option<Reference>,
}

/// A transport whose images are files or directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathTransport {
    /// `dir:`.
    Dir,
    /// `oci:`.
    Oci,
    /// `oci-archive:`.
    OciArchive,
    /// `sif:`.
    Sif,
}

impl PathTransport {
    fn name(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::Sif => "sif",
        }
    }
}

/// An image in containers-storage, as a policy names it.
#[derive(Debug, Clone, Copy)]
pub struct StorageImage<'a> {
    /// The driver, such as `overlay`.
    pub driver: &'a str,
    /// The directory of the store, absolute.
    pub root: &'a Path,
    /// The name, if the image is named by one.
    pub reference: Option<&'a Reference>,
    /// The id, if the image is named by one: 64 hex digits.
    pub id: Option<&'a str>,
}

impl ImageIdentity {
    /// Returns the identity of an image in a registry.
    ///
    /// If the name has both a tag and a digest, the digest identifies the image, and the tag is ignored.
    ///
    /// # Errors
    /// [`Error::NameOnly`] for a name without tag and digest.
    pub fn docker(reference: &Reference) -> Result<Self> {
        Self::named("docker", reference)
    }

    /// Returns the identity of an image of a Docker engine that is named by a reference.
    ///
    /// # Errors
    /// [`Error::NameOnly`] for a name without tag and digest.
    pub fn docker_daemon(reference: &Reference) -> Result<Self> {
        Self::named("docker-daemon", reference)
    }

    /// Returns the identity of an image of a Docker engine that is named by its id.
    pub fn docker_daemon_id() -> Self {
        Self::plain("docker-daemon", None)
    }

    /// Returns the identity of an image in a `docker-archive:`. Only the scope `""` of the transport applies to it.
    pub fn docker_archive(reference: Option<&Reference>) -> Self {
        Self::plain("docker-archive", reference.cloned())
    }

    /// Returns the identity of an image that is made of tars. Only the scope `""` of the transport applies to it.
    pub fn tarball() -> Self {
        Self::plain("tarball", None)
    }

    /// Returns the identity of an image at a path.
    ///
    /// # Errors
    /// [`Error::PolicyPath`] for a path that is not UTF-8, not absolute, or not canonical. The caller resolves symbolic
    /// links before.
    pub fn path(transport: PathTransport, path: &Path) -> Result<Self> {
        let invalid = || Error::PolicyPath { path: path.to_owned() };
        let text = path.to_str().filter(|text| is_canonical(text)).ok_or_else(invalid)?;
        let parents = text.match_indices('/').map(|(end, _)| end).filter(|&end| end != 0);
        let mut namespaces: Vec<_> = parents.map(|end| text[..end].to_owned()).collect();
        namespaces.reverse();
        Ok(Self { transport: transport.name(), identity: text.to_owned(), namespaces, reference: None })
    }

    /// Returns the identity of an image in containers-storage.
    pub fn containers_storage(image: StorageImage<'_>) -> Self {
        let store = format!("[{}@{}]", image.driver, image.root.display());
        let named = |name: &str| format!("{store}{name}");
        let text = image.reference.map(Reference::to_string).unwrap_or_default();
        let id = image.id.map(|id| format!("@{id}")).unwrap_or_default();
        let mut namespaces = Vec::new();
        if let Some(reference) = image.reference {
            if image.id.is_some() {
                namespaces.push(named(&text));
            }
            if let (Some(tag), Some(_)) = (reference.tag(), reference.digest()) {
                namespaces.push(named(&format!("{}:{tag}", reference.name())));
            }
            namespaces.extend(parents_of_name(&reference.name()).map(named));
        }
        namespaces.push(store.clone());
        namespaces.push(format!("[{}]", image.root.display()));
        let identity = format!("{store}{text}{id}");
        Self { transport: "containers-storage", identity, namespaces, reference: image.reference.cloned() }
    }

    fn plain(transport: &'static str, reference: Option<Reference>) -> Self {
        Self { transport, identity: String::new(), namespaces: Vec::new(), reference }
    }

    fn named(transport: &'static str, reference: &Reference) -> Result<Self> {
        let name = reference.name();
        let identity = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, Some(tag)) => format!("{name}:{tag}"),
            (None, None) => return Err(Error::NameOnly { reference: reference.to_string() }),
        };
        let mut namespaces: Vec<_> = parents_of_name(&name).map(str::to_owned).collect();
        let host = reference.domain();
        let mut host = host.split_once(':').map_or(host, |(host, _port)| host);
        while let Some((_, parent)) = host.split_once('.') {
            namespaces.push(format!("*.{parent}"));
            host = parent;
        }
        // A tag beside a digest says nothing about the image that the digest identifies.
        let reference = match reference.digest() {
            Some(digest) => Reference::parse(&format!("{name}@{digest}")).unwrap_or_else(|_| reference.clone()),
            None => reference.clone(),
        };
        Ok(Self { transport, identity, namespaces, reference: Some(reference) })
    }

    /// Returns the name of the transport, as it is in a policy.
    pub fn transport(&self) -> &'static str {
        self.transport
    }

    /// Returns the most specific scope. It is empty if only the scope `""` of the transport applies.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns the less specific scopes, in the order of a lookup.
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Returns the name that signatures are compared with, if the image has one.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}

impl std::fmt::Display for ImageIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.transport, self.identity)
    }
}

/// Returns `host/a/b`, `host/a`, `host`.
fn parents_of_name(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(parent, _)| parent))
}

/// Returns whether a path is absolute, is not `/`, and has no `.`, `..`, empty component or slash at its end.
fn is_canonical(path: &str) -> bool {
    let mut components = Path::new(path).components();
    components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)))
        && path != "/"
        && Path::new(path).components().collect::<std::path::PathBuf>().as_os_str() == path
}

/// Checks a scope of a transport, other than `""`. Scopes of other transports than vmroot's are not checked.
///
/// # Errors
/// The reason for which the scope cannot apply to an image, as in "the scope REASON".
pub fn check_scope(transport: &str, scope: &str) -> Result<(), String> {
    match transport {
        "dir" | "oci" | "oci-archive" | "sif" if !is_canonical(scope) => {
            Err("is not an absolute path without \".\", \"..\" and a slash at its end, other than /".to_owned())
        }
        "docker-archive" | "tarball" => Err("cannot match; only \"\" is a scope of this transport".to_owned()),
        "docker-daemon" if vmroot_model::Digest::parse(scope).is_ok() => {
            Err("is an image id; only \"\" applies to images that are named by their id".to_owned())
        }
        "containers-storage" => check_storage_scope(scope),
        _ => Ok(()),
    }
}

fn check_storage_scope(scope: &str) -> Result<(), String> {
    let store = scope.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (store, _) = store.ok_or("does not start with [DRIVER@ROOT] or [ROOT]")?;
    let root = match store.split_once('@') {
        Some(("", _)) => return Err("has no driver before the @".to_owned()),
        Some((_, root)) => root,
        None => store,
    };
    if Path::new(root).is_absolute() { Ok(()) } else { Err("has a root that is not an absolute path".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(name: &str) -> ImageIdentity {
        ImageIdentity::docker(&Reference::parse(name).unwrap()).unwrap()
    }

    #[test]
    fn registries_have_parents_and_wildcards() {
        let identity = docker("reg.example.com:5000/a/b:1");
        assert_eq!(identity.identity(), "reg.example.com:5000/a/b:1");
        let wanted =
            ["reg.example.com:5000/a/b", "reg.example.com:5000/a", "reg.example.com:5000", "*.example.com", "*.com"];
        assert_eq!(identity.namespaces(), wanted);
        let hub = docker("busybox:1");
        assert_eq!(hub.namespaces(), ["docker.io/library/busybox", "docker.io/library", "docker.io", "*.io"]);
        assert_eq!(hub.to_string(), "docker:docker.io/library/busybox:1");
    }

    #[test]
    fn a_digest_beats_a_tag_and_one_of_both_is_needed() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let identity = docker(&format!("busybox:1@{digest}"));
        assert_eq!(identity.identity(), format!("docker.io/library/busybox@{digest}"));
        assert_eq!(identity.reference().unwrap().tag(), None);
        let name_only = Reference::parse("busybox").unwrap();
        assert!(matches!(ImageIdentity::docker(&name_only), Err(Error::NameOnly { .. })));
    }

    #[test]
    fn paths_have_parents_without_the_root() {
        let identity = ImageIdentity::path(PathTransport::Oci, Path::new("/a/b/c")).unwrap();
        assert_eq!((identity.identity(), identity.namespaces()), ("/a/b/c", &["/a/b".to_owned(), "/a".to_owned()][..]));
        for path in ["a", "/", "/a/", "/a/../b", "/a/./b", "/a//b", ""] {
            assert!(ImageIdentity::path(PathTransport::Dir, Path::new(path)).is_err(), "{path}");
            assert!(check_scope("dir", path).is_err(), "{path}");
        }
    }

    #[test]
    fn stores_have_shorter_forms() {
        let reference = Reference::parse("busybox:1").unwrap();
        let id = "1".repeat(64);
        let image =
            StorageImage { driver: "overlay", root: Path::new("/r"), reference: Some(&reference), id: Some(&id) };
        let identity = ImageIdentity::containers_storage(image);
        assert_eq!(identity.identity(), format!("[overlay@/r]docker.io/library/busybox:1@{id}"));
        let wanted = [
            "[overlay@/r]docker.io/library/busybox:1",
            "[overlay@/r]docker.io/library/busybox",
            "[overlay@/r]docker.io/library",
            "[overlay@/r]docker.io",
            "[overlay@/r]",
            "[/r]",
        ];
        assert_eq!(identity.namespaces(), wanted);
        for namespace in identity.namespaces() {
            check_scope("containers-storage", namespace).unwrap();
        }
        for scope in ["overlay", "[]", "[@/r]", "[r]", "[overlay@r]x"] {
            assert!(check_scope("containers-storage", scope).is_err(), "{scope}");
        }
    }
}
