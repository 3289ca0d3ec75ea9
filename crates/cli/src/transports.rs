//! The options of transports, from the command line and the environment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vmroot::TransportOptions;
use vmroot::transport::{StorageConfig, StorageOptions, StorageUser};

use crate::environment;

/// The files that locate root's store, the first with the highest precedence (containers-storage.conf(5)).
const SYSTEM_STORAGE_CONF: [&str; 2] = ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"];

/// The transports of names of images, in the order in which hints list them.
pub(crate) const NAMES: [&str; 11] = [
    "docker",
    "vmroot",
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "docker-daemon",
    "containers-storage",
    "tarball",
    "sif",
    "prebaked",
];

/// Returns the beginning of names with a transport: `docker://`, or `oci:` and the like.
pub(crate) fn prefix(transport: &str) -> String {
    let slashes = if transport == "docker" { "//" } else { "" };
    format!("{transport}:{slashes}")
}

/// The options of one side of a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transports {
    pub(crate) daemon_host: Option<String>,
    pub(crate) shared_blob_dir: Option<PathBuf>,
    pub(crate) cert_dir: Option<PathBuf>,
    pub(crate) tls_verify: Option<bool>,
}

impl Transports {
    /// Returns the options of the library. The environment locates the Docker engine, and the store of podman and buildah
    /// when an image in it is opened.
    pub(crate) fn options(self) -> TransportOptions {
        let verifies = self.tls_verify.unwrap_or(true);
        TransportOptions {
            daemon_host: self.daemon_host.or_else(environment::docker_host),
            daemon_cert_dir: self.cert_dir.or_else(environment::docker_cert_dir),
            daemon_insecure: !verifies,
            storage: None,
            find_storage: Some(storage),
            shared_blob_dir: self.shared_blob_dir,
        }
    }
}

/// Returns the location of the user's store.
fn storage() -> vmroot::Result<StorageOptions> {
    let user: StorageUser = environment::storage_user();
    let own = environment::storage_conf(user.uid);
    for path in own {
        if let Some(config) = read(&path)? {
            return Ok(config.locate(&user, true));
        }
    }
    for path in SYSTEM_STORAGE_CONF {
        if let Some(config) = read(Path::new(path))? {
            return Ok(config.locate(&user, false));
        }
    }
    Ok(StorageConfig::default().locate(&user, false))
}

fn read(path: &Path) -> vmroot::Result<Option<StorageConfig>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(StorageConfig::parse(&text, path)?)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(source) => Err(vmroot::transport::Error::Io { action: "read", path: path.to_owned(), source }.into()),
    }
}
