//! Tests of the public API of the model.

mod config;
mod descriptor;
mod document;
mod mutation;
mod oracle;
mod platform;
mod reference;
mod samples;
mod search;
mod select;
