//! Tests of `ContainerFs`: single operations, and comparison with a naive model.

mod layered;
mod listing;
mod operations;
mod origin;
mod resolve;
mod stack;
mod users;
