//! Tests of the crate. The judges are GnuPG and skopeo.

mod memory;
mod mutation;
mod policy;
mod signed_by;
mod sigstore;
