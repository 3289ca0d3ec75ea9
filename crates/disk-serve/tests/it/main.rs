//! Tests of served disks.

mod fixture;
#[allow(dead_code)] // It is made for more tests than these.
#[path = "../../../virtiofs/tests/it/front_end.rs"]
mod front_end;

mod file;
mod hostile_guests;
mod hostile_nbd;
mod nbd;
mod real_guest;
mod same_bytes;
mod trace;
mod vhost_user;
