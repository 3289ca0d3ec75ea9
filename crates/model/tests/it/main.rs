//! Tests of the public API of the model.

mod config;
mod convert;
mod descriptor;
mod document;
mod index_edit;
mod mutation;
mod oracle;
mod platform;
mod reference;
mod samples;
mod search;
mod select;
