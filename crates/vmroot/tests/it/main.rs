//! Tests of the facade: layers and files on top of a root, cancellation, and clients that are shared by threads and
//! tasks.

mod additions;
mod cancelling;
mod layers;
mod roots;
mod tasks;
mod together;
