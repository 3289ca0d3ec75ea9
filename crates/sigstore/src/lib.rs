//! Verifies and makes sigstore signatures of images: bytes in, a verdict out.
//!
//! The crate uses no network, no files, no environment and no clock. The time of a verification is a parameter.

pub mod strict_json;
