//! Leases of images.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use vmroot_cache::{Lease, LeasedImage, Needs};
use vmroot_model::Digest;

use crate::in_use::add_needs;
use crate::{Error, Image, Result, Store};

impl Store {
    /// Creates a lease: the files of `images` stay in the cache until it is released or expires, even if their names are
    /// removed. Without an id, it gets a random one.
    ///
    /// # Errors
    /// - [`Error::LeaseId`] if the id has not the form of one, see [`Lease::id`].
    /// - [`Error::LeaseExists`] if there is a lease with this id that has not expired.
    /// - [`Error::Cache`] if the lease cannot be written.
    pub fn create_lease(&self, id: Option<&str>, images: &[Image], expires: Option<SystemTime>) -> Result<Lease> {
        let id = id.map_or_else(random_id, str::to_owned);
        if !Lease::is_id(&id) {
            return Err(Error::LeaseId(id));
        }
        let mut needs = Needs::default();
        images.iter().for_each(|image| add_needs(&mut needs, image.record()));
        let entry = |image: &Image| {
            let reference = image.record().reference.as_ref().map(ToString::to_string);
            LeasedImage::new(*image.id(), reference, image.record().platform.to_string())
        };
        let lease = Lease::new(id, images.iter().map(entry).collect(), needs, expires);
        // Of two processes that create the same lease, one fails.
        let _lock = self.lock_records(None)?;
        if self.leases()?.iter().any(|other| other.id == lease.id) {
            return Err(Error::LeaseExists(lease.id));
        }
        self.cache.write_lease(&lease)?;
        Ok(lease)
    }

    /// Returns the leases that have not expired, sorted by id.
    ///
    /// # Errors
    /// [`Error::Cache`] if the leases cannot be read, or one is damaged.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        if self.is_missing() {
            return Ok(Vec::new());
        }
        let now = SystemTime::now();
        Ok(self.cache.leases()?.into_iter().filter(|lease| !lease.is_expired(now)).collect())
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// - [`Error::LeaseId`] if the id has not the form of one.
    /// - [`Error::NoSuchLease`] if there is none with this id.
    /// - [`Error::Cache`] if it cannot be removed.
    pub fn release_lease(&self, id: &str) -> Result<()> {
        if !Lease::is_id(id) {
            return Err(Error::LeaseId(id.to_owned()));
        }
        if self.cache.remove_lease(id)? { Ok(()) } else { Err(Error::NoSuchLease(id.to_owned())) }
    }

    /// Removes the files of leases that have expired.
    pub(crate) fn remove_expired_leases(&self) -> Result<()> {
        let now = SystemTime::now();
        if !self.cache.leases()?.iter().any(|lease| lease.is_expired(now)) {
            return Ok(());
        }
        // A lease with the same id may be created meanwhile.
        let _lock = self.lock_records(None)?;
        for lease in self.cache.leases()?.iter().filter(|lease| lease.is_expired(now)) {
            self.cache.remove_lease(&lease.id)?;
        }
        Ok(())
    }
}

/// Returns an id that no other lease has.
fn random_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let seed = format!("{} {now} {}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Digest::of(seed.as_bytes()).hex()[..16].to_owned()
}
