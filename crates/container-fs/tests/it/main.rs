//! `ContainerFs` against a naive model, and its answers one by one.

mod layered;
mod listing;
mod questions;
mod resolve;
mod stack;
mod users;
