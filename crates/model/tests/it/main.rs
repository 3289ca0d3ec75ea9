//! Tests of the public API of the model.

mod choose;
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
mod schema1;
mod search;
mod select;
mod skopeo;
