//! Tests of the facade: layers and files on top of a root, clients that are shared by threads and tasks, and the
//! examples.

mod additions;
mod examples;
mod layers;
mod roots;
mod tasks;
mod together;
