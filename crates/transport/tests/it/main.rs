//! Tests with valid archives of all formats and versions, with invalid ones, and with those that destinations write.

mod builder;
mod copying;
mod daemon;
mod daemon_hostile;
mod destinations;
mod directories;
mod docker;
mod faults;
mod hostile;
mod judges;
mod layout_signatures;
mod links;
mod oci;
mod pull;
mod repository;
mod sif;
mod signatures;
mod storage;
mod storage_hostile;
mod tarball;
mod tools;
mod validation;
