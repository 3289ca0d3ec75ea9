//! Leases: named lists of images whose files stay, until they are released or expire.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vmroot_model::Digest;
use vmroot_output::write_atomically;

use crate::cache::{Cache, names, remove_file};
use crate::uses::Needs;
use crate::{Layout, PUBLISHED_MODE, Result};

/// The most bytes of the id of a lease.
pub const LEASE_ID_LIMIT: usize = 128;

/// The extension of the file of a lease.
const EXTENSION: &str = "json";

/// A lease: images whose files no collection removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// The id: letters, digits, `.`, `_` and `-`, and a letter or digit first. At most [`LEASE_ID_LIMIT`] bytes.
    pub id: String,
    /// The time of its creation, in seconds since the Unix epoch.
    pub created: u64,
    /// The time at which it ends, in seconds since the Unix epoch. `None` for a lease that has to be released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The images.
    pub images: Vec<LeasedImage>,
    /// Their files.
    pub needs: Needs,
}

/// An image of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeasedImage {
    /// The image's id.
    pub id: Digest,
    /// The name by which it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its platform.
    pub platform: String,
}

impl Lease {
    /// Returns a lease that is created now.
    pub fn new(id: String, images: Vec<LeasedImage>, needs: Needs, expires: Option<SystemTime>) -> Self {
        Self { id, created: seconds(SystemTime::now()), expires: expires.map(seconds), images, needs }
    }

    /// Returns whether `id` has the form of an id.
    pub fn is_id(id: &str) -> bool {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        id.len() <= LEASE_ID_LIMIT && id.starts_with(|it: char| it.is_ascii_alphanumeric()) && id.bytes().all(is_inner)
    }

    /// Returns whether the lease has ended at this time.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= seconds(now))
    }

    /// Returns the time of the creation.
    pub fn created_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.created)
    }
}

impl LeasedImage {
    /// Returns the entry of an image.
    pub fn new(id: Digest, reference: Option<String>, platform: String) -> Self {
        Self { id, reference, platform }
    }
}

impl Layout {
    /// Returns the directory of the leases.
    pub(crate) fn leases(&self) -> PathBuf {
        self.root().join("leases")
    }

    fn lease(&self, id: &str) -> PathBuf {
        self.leases().join(format!("{id}.{EXTENSION}"))
    }
}

impl Cache {
    /// Writes a lease, in place of an earlier one with its id. The caller must hold its files, and
    /// [`LockName::Images`](crate::LockName::Images) if it must not replace another one.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the file cannot be written.
    pub fn write_lease(&self, lease: &Lease) -> Result<()> {
        let bytes = serde_json::to_vec(lease).expect("a lease has no keys but strings");
        Ok(write_atomically(&self.layout().lease(&lease.id), PUBLISHED_MODE, &bytes)?)
    }

    /// Removes a lease. Returns false if there is none with this id.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the file cannot be removed.
    pub fn remove_lease(&self, id: &str) -> Result<bool> {
        if Lease::is_id(id) { remove_file(&self.layout().lease(id)) } else { Ok(false) }
    }

    /// Returns all leases, with those that have expired, sorted by id.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a file cannot be listed or read.
    /// - [`Error::Lease`](crate::Error::Lease): a file is damaged, so the files that it keeps are unknown.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for name in names(&self.layout().leases())? {
            let Some(id) = name.strip_suffix(".json").filter(|id| Lease::is_id(id)) else { continue };
            let path = self.layout().lease(id);
            let bytes = match fs::read(&path) {
                // It was released meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(vmroot_output::Error::on("read", &path))?,
            };
            match serde_json::from_slice::<Lease>(&bytes) {
                Ok(lease) if lease.id == id => leases.push(lease),
                Ok(_) => return Err(crate::Error::Lease { path, reason: "it is that of another id".to_owned() }),
                Err(error) => return Err(crate::Error::Lease { path, reason: error.to_string() }),
            }
        }
        Ok(leases)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_written_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let image = LeasedImage::new(Digest::of(b"config"), Some("a:1".to_owned()), "linux/amd64".to_owned());
        let needs = Needs { images: [image.id].into(), ..Needs::default() };
        let expires = SystemTime::now() + Duration::from_secs(100);
        let lease = Lease::new("night-1".to_owned(), vec![image], needs, Some(expires));
        cache.write_lease(&lease).unwrap();
        assert_eq!(cache.leases().unwrap(), std::slice::from_ref(&lease));
        assert!(!lease.is_expired(SystemTime::now()));
        assert!(lease.is_expired(expires));
        assert!(cache.remove_lease("night-1").unwrap());
        assert!(!cache.remove_lease("night-1").unwrap());
        assert_eq!(cache.leases().unwrap(), []);
    }

    #[test]
    fn a_damaged_lease_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        fs::write(cache.layout().lease("a"), "{").unwrap();
        let error = cache.leases().unwrap_err();
        assert!(error.to_string().contains("leases/a.json"), "{error}");
    }

    #[test]
    fn ids_are_names_of_files() {
        for id in ["a", "9", "a.b_c-d", &"x".repeat(LEASE_ID_LIMIT)] {
            assert!(Lease::is_id(id), "{id}");
        }
        for id in ["", ".", "..", "../a", "-a", "a/b", "a b", "ä", &"x".repeat(LEASE_ID_LIMIT + 1)] {
            assert!(!Lease::is_id(id), "{id}");
        }
    }
}
