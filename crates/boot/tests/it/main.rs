//! Tests with real kernels in real machines.

mod fixture;
mod lister;

mod accelerators;
mod arm64;
mod consoles;
mod kernels;
mod listings;
mod modules;
mod refusals;
mod verity;
