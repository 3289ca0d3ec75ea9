//! Tests of the public API.

mod chunked;
mod encode;
mod gzip;
mod limits;
mod pipeline;
mod recompress;
mod samples;
mod streams;
