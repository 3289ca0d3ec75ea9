//! Tests of the facade: layers and files on top of a root, cancellation, clients that are shared by threads and tasks,
//! and the examples.

mod additions;
mod cancelling;
mod examples;
mod identities;
mod layers;
mod roots;
mod shared;
mod tasks;
mod together;
