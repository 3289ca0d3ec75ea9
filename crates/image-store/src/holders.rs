//! What keeps the files of an image: processes, mounts, leases and child images.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmroot_cache::{Exclusion, Lease, Needs, Use, User};
use vmroot_model::Digest;

use crate::catalogue::Snapshot;
use crate::{Error, Image, Result, Store};

/// What keeps the files of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A process that uses the image.
    Process {
        /// Its id, in its own PID namespace.
        pid: u32,
        /// What it does, such as `mount /mnt`. May be empty.
        purpose: String,
        /// The time since which it uses the cache.
        since: SystemTime,
    },
    /// A mount that the kernel serves without a process.
    Mount {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The time of the mount.
        since: SystemTime,
    },
    /// A lease.
    Lease {
        /// Its id.
        id: String,
        /// The time at which it ends; `None` if it has to be released.
        expires: Option<SystemTime>,
    },
    /// An image that was made from it.
    Child {
        /// The id of the child.
        id: Digest,
        /// A name of the child.
        name: Option<String>,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, purpose, .. } if purpose.is_empty() => write!(f, "process {pid}"),
            Self::Process { pid, purpose, .. } => write!(f, "process {pid} ({purpose})"),
            Self::Mount { mountpoint, .. } => write!(f, "the mount at {}", mountpoint.display()),
            Self::Lease { id, .. } => write!(f, "the lease {id}"),
            Self::Child { id, name: None } => write!(f, "its child image {}", &id.hex()[..12]),
            Self::Child { id, name: Some(name) } => write!(f, "its child image {name} ({})", &id.hex()[..12]),
        }
    }
}

impl Holder {
    fn of_use(found: &Use) -> Self {
        match &found.user {
            User::Process { pid, purpose } => Self::Process { pid: *pid, purpose: purpose.clone(), since: found.since },
            User::Mount { mountpoint } => Self::Mount { mountpoint: mountpoint.clone(), since: found.since },
        }
    }

    fn of_lease(lease: &Lease) -> Self {
        let expires = lease.expires.map(|expires| UNIX_EPOCH + Duration::from_secs(expires));
        Self::Lease { id: lease.id.clone(), expires }
    }
}

/// The users and leases of a cache at one moment.
pub(crate) struct Held {
    holders: Vec<(Holder, Needs)>,
    /// All their needs.
    pub(crate) needs: Needs,
    /// The users whose needs are not known.
    unknown: Vec<Holder>,
}

impl Held {
    /// Returns the holders of an image, but not its children.
    pub(crate) fn of_image(&self, id: &Digest) -> Vec<Holder> {
        let holds = self.holders.iter().filter(|(_, needs)| needs.images.contains(id));
        holds.map(|(holder, _)| holder).chain(&self.unknown).cloned().collect()
    }

    /// Returns the holders whose needs have a property.
    pub(crate) fn with(&self, has: impl Fn(&Needs) -> bool) -> impl Iterator<Item = &Holder> {
        self.holders.iter().filter(move |(_, needs)| has(needs)).map(|(holder, _)| holder)
    }
}

impl Store {
    /// Returns what keeps an image from being removed: other users of the cache, leases, and child images.
    ///
    /// [`Image`]s of this store do not count. The result may be out of date at once.
    ///
    /// # Errors
    /// [`Error::Cache`] if the uses, the leases or the records cannot be read.
    pub fn holders(&self, image: &Image) -> Result<Vec<Holder>> {
        let uses = self.cache.uses(Some(self.presence.uses()))?;
        let others = uses.into_iter().filter(|found| !found.is_own).collect();
        let held = self.held(others)?;
        let mut holders = held.of_image(image.id());
        holders.extend(children(&*self.snapshot()?, image.id()));
        Ok(holders)
    }

    /// Returns all users and leases. Without the lock of the uses, some may be missing.
    pub(crate) fn held_now(&self) -> Result<Held> {
        self.known(self.held(self.cache.uses(Some(self.presence.uses()))?)?)
    }

    /// Returns all users and leases, while no user adds to its needs.
    pub(crate) fn held_in(&self, exclusion: &mut Exclusion<'_>) -> Result<Held> {
        self.known(self.held(std::mem::take(&mut exclusion.uses))?)
    }

    /// Returns an error if the needs of a user are not known.
    fn known(&self, held: Held) -> Result<Held> {
        let Some(unknown) = held.unknown.first() else { return Ok(held) };
        let by = format!("{unknown}, which could not write down the files that it needs");
        Err(Error::InUse { path: self.directory().to_owned(), by })
    }

    fn held(&self, uses: Vec<Use>) -> Result<Held> {
        let unknown = uses.iter().filter(|found| found.everything).map(Holder::of_use).collect();
        let now = SystemTime::now();
        let mut holders: Vec<(Holder, Needs)> =
            uses.into_iter().map(|found| (Holder::of_use(&found), found.needs)).collect();
        let leases = self.cache.leases()?.into_iter().filter(|lease| !lease.is_expired(now));
        holders.extend(leases.map(|lease| (Holder::of_lease(&lease), lease.needs)));
        let mut needs = Needs::default();
        holders.iter().for_each(|(_, more)| needs.extend(more));
        Ok(Held { holders, needs, unknown })
    }
}

/// Returns the children of an image.
pub(crate) fn children(snapshot: &Snapshot, id: &Digest) -> impl Iterator<Item = Holder> {
    snapshot.children(id).iter().map(|child| {
        let named = snapshot.by_id.get(child).into_iter().flatten().find_map(|record| record.reference.as_ref());
        Holder::Child { id: *child, name: named.map(vmroot_model::Reference::familiar) }
    })
}
