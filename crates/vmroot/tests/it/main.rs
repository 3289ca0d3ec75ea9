//! The facade's own work: what goes on top of a root.

mod additions;
mod layers;
mod roots;
