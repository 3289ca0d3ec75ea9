//! The rule that finds a user, against itself in a table and against buildah.

mod buildah;
mod rule;
