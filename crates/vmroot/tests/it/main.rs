//! Tests of the facade: layers and files on top of a root, images by ids and names, cancellation, clients that are shared by threads and tasks,
//! and the examples.

mod additions;
mod cancelling;
mod examples;
mod identities;
mod layers;
mod listing;
mod roots;
mod shared;
mod store_cases;
mod tasks;
mod together;
