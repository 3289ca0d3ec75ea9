//! Tests of the public API.

mod encode;
mod gzip;
mod limits;
mod pipeline;
mod samples;
mod streams;
