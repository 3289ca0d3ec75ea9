//! Synchronisation of repositories.

mod list;
mod pattern;
mod semver;

pub use list::{ListError, SYNC_LIST_LIMIT, SyncCredentials, SyncList, SyncRegistry, TagFilter, TagOrDigest};
pub use pattern::{InvalidPattern, TagPattern};
pub use semver::{Constraint, InvalidConstraint, Version};
