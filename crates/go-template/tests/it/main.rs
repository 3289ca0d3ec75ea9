//! Templates with their output: from Go's documentation, and compared with podman, buildah and skopeo.

mod errors;
mod limits;
mod programs;
mod reports;
mod table;
