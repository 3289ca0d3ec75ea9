//! What the public interface of the model promises.

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
