//! Tests of `ContainerFs`: single operations, and comparison with a naive model.

mod layered;
mod listing;
mod open_file;
mod operations;
mod origin;
mod resolve;
mod stack;
mod users;
