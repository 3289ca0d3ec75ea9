//! The only crate of vmroot with unsafe code.
//!
//! Everything here is a safe wrapper, each over one operation that neither `std` nor `rustix` offers safely. Every
//! other crate of the workspace forbids unsafe code.

mod clone;
mod direct;
mod map;
mod parent;
mod writeback;

pub use clone::clone_range;
pub use direct::{AlignedBuffer, DIRECT_ALIGNMENT, open_direct};
pub use map::Map;
pub use parent::end_with_parent;
pub use writeback::start_writeback;
