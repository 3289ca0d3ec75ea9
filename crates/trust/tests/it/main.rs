//! Tests of the crate.

mod policy;
