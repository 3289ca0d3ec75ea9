//! Real kernels in real machines.

mod fixture;
mod lister;

mod consoles;
mod listings;
