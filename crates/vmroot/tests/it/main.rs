//! The facade's own work: what goes on top of a root, threads and tasks that share a client.

mod additions;
mod layers;
mod roots;
mod tasks;
mod together;
