//! Tests with valid archives of all formats and versions, and with invalid ones.

mod builder;
mod daemon;
mod daemon_hostile;
mod directories;
mod docker;
mod hostile;
mod oci;
mod pull;
mod sif;
mod storage;
mod storage_hostile;
mod tarball;
mod tools;
mod validation;
