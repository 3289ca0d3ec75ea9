//! A directory of verified blobs, layer indexes and image records, shared by processes.
//!
//! It is safe with concurrent processes and after crashes:
//!
//! - A file gets its final name by rename(2), after its bytes were verified and synced. A file under its final name is
//!   complete. A process that is killed leaves at most temporary files, which are swept, and `.partial` files, which
//!   are resumed or swept.
//! - The creator of a file holds the lock named after it ([`LockName`]). A second process waits for the lock and then
//!   finds the file, so the work is done once.
//! - A user of the cache lists the files that it needs ([`Uses`]), and a collection keeps these.
//! - Locks are flock(2) locks, which the kernel releases when their process ends.
//!
//! Locks are taken in the order `Gate`, `Cache`, `Images`, `Root`, `Layer`, `Blob`, `Uses`: a thread that holds a lock waits
//! only for locks of a later rank, or for a shared lock of the same rank if its own is shared. This prevents deadlocks.
//! `docs/formats/cache.md` describes the paths, and the rules for other programs that use a cache.

mod blob;
mod cache;
mod error;
mod layout;
mod lease;
mod lock;
mod presence;
mod sweep;
mod usage;
mod uses;

pub use blob::{BlobEntry, BlobFile, BlobSlot, BlobWriter, Verdict};
pub use cache::Cache;
pub use error::{Error, Result};
pub use layout::Layout;
pub use lease::{LEASE_ID_LIMIT, Lease, LeasedImage};
pub use lock::{Lock, LockName, WaitHook, wait_forever};
pub use vmroot_output::flock::Mode;

/// The permission bits of the published files in a cache, which are never written again.
pub const PUBLISHED_MODE: u32 = 0o444;
pub use presence::{ClosedGate, Exclusion, Presence};
pub use sweep::SweepReport;
pub use usage::{Area, Usage};
pub use uses::{Hold, Needs, Use, User, Uses};
