//! Writable disks, checked with e2fsck.

mod writable;
