//! System calls that need unsafe code, in safe functions.
//!
//! This is the only crate of vmroot with unsafe code; all others forbid it. Each function wraps one operation that
//! neither `std` nor `rustix` offers safely.

mod clone;
mod device_mapper;
mod direct;
mod host_names;
mod loop_device;
mod map;
mod namespace;
mod parent;
mod record_lock;
mod working_directory;
mod writeback;

pub use clone::clone_range;
pub use device_mapper::{DEVICE_MAPPER_HEADER, call_device_mapper};
pub use direct::{AlignedBuffer, DIRECT_ALIGNMENT, open_direct};
pub use host_names::resolve_with_built_in_services;
pub use loop_device::LoopDevice;
pub use map::Map;
pub use namespace::{enter_mount_namespace, enter_pid_namespace};
pub use parent::end_with_parent;
pub use record_lock::lock_shared;
pub use working_directory::call_in_directory;
pub use writeback::start_writeback;
