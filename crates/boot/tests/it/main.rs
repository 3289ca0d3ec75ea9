//! Real kernels in real machines.

mod fixture;
mod lister;

mod accelerators;
mod consoles;
mod kernels;
mod listings;
mod modules;
