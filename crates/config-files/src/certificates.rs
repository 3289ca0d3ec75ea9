//! Certificates of registries, in `certs.d` (containers-certs.d(5)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Locations, Result};

/// The certificates for one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostCertificates {
    /// The directory, or `None` if no directory for the registry exists.
    pub directory: Option<PathBuf>,
    /// The files `*.crt`: authorities to trust besides the system's.
    pub authorities: Vec<PathBuf>,
    /// The pairs `NAME.cert` and `NAME.key`: client certificates with their keys.
    pub identities: Vec<(PathBuf, PathBuf)>,
}

impl HostCertificates {
    /// Searches the certificates of a registry, `HOST` or `HOST:PORT`. The first directory that exists counts, even an
    /// empty one. Directories without access are skipped.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: a `.cert` has no `.key`, or the reverse.
    /// - [`Error::Io`]: a directory cannot be read.
    pub fn find(locations: &Locations, domain: &str) -> Result<Self> {
        for directory in locations.certificate_directories(domain) {
            match fs::metadata(&directory) {
                Ok(_) => return Self::read(directory),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::debug!(directory = %directory.display(), "skipping certificates without access to them");
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("read", &directory)(error)),
            }
        }
        Ok(Self::default())
    }

    fn read(directory: PathBuf) -> Result<Self> {
        let names = match names(&directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(directory = %directory.display(), "skipping certificates without access to them");
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::io("list", &directory)(error)),
        };
        let mut found = Self::default();
        for name in &names {
            let path = Path::new(name);
            let counterpart = |extension| path.with_extension(extension);
            let has = |file: &Path| names.iter().any(|name| Path::new(name) == file);
            match path.extension().and_then(|extension| extension.to_str()) {
                // As containers/image: a link whose target is gone is no certificate, unlike that of a client.
                Some("crt") if is_gone(&directory.join(name)) => {
                    tracing::debug!(directory = %directory.display(), ?name, "skipping a link without a target");
                }
                Some("crt") => found.authorities.push(directory.join(name)),
                Some("cert") if has(&counterpart("key")) => {
                    found.identities.push((directory.join(name), directory.join(counterpart("key"))));
                }
                Some("cert") => {
                    let reason = format!(
                        "the client certificate {name:?} has no key {:?}; an authority's certificate must be named *.crt",
                        counterpart("key")
                    );
                    return Err(Error::invalid(&directory, reason));
                }
                Some("key") if !has(&counterpart("cert")) => {
                    let reason = format!("the key {name:?} has no client certificate {:?}", counterpart("cert"));
                    return Err(Error::invalid(&directory, reason));
                }
                _ => {}
            }
        }
        found.directory = Some(directory);
        Ok(found)
    }
}

/// Returns whether a path leads to no file.
fn is_gone(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Returns the names in a directory, sorted.
fn names(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
