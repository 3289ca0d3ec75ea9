//! Verified bytes by digest on disk, safe with many processes and crashes.
//!
//! The rules that make it so:
//!
//! - A file gets its final name by rename(2), after its bytes were checked and synced: what is there under its name is
//!   whole. A process killed at any moment leaves at most a temporary file or a `.partial`, which the next one resumes
//!   or sweeps away.
//! - Whoever makes something holds the lock named after it ([`LockName`]), so that two processes do the work once; the
//!   second finds it done.
//! - A user of the cache holds [`LockName::Cache`] shared; one that removes things holds it exclusively. [`Presence`] has
//!   both.
//! - Locks are flock(2) locks: they go with the process that held them, however it ended.
//!
//! A thread that holds a lock of one rank may wait only for locks of a later rank: first `Gate`, then `Cache`, `Images`, `Root`,
//! `Layer`, `Blob`. One that holds a lock shared may also wait for more of its rank, shared. So nobody waits in a circle.
//! `docs/formats/cache.md` has the paths and the rules for others who read or write a cache.

mod atomic;
mod blob;
mod cache;
mod error;
mod layout;
mod lock;
mod presence;
mod sink;
mod sweep;
mod temporary;
mod usage;

pub use atomic::{AtomicFile, Written, write_file};
pub use blob::{BlobEntry, BlobFile, BlobWriter, Claim, Verdict};
pub use cache::Cache;
pub use error::{Error, Result};
pub use layout::{Layout, TEMPORARY_PREFIX};
pub use lock::{Lock, LockName, Mode, Waiting, patiently};
pub use presence::Presence;
pub use sweep::Swept;
pub use temporary::TemporaryDirectory;
pub use usage::{Area, Usage};
