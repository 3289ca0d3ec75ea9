//! Disks for guests.
//!
//! [`writable`] makes, grows, clones and describes disks that a guest writes to.

pub mod writable;
