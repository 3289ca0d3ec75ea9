//! The crate as its users see it.

mod encode;
mod gzip;
mod limits;
mod pipeline;
mod samples;
mod streams;
