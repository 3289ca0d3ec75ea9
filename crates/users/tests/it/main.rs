//! Tests of resolving users, with tables and by comparison with buildah.

mod buildah;
mod rule;
