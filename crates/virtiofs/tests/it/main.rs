//! Tests the device with a front end without a machine, and with a real guest.

mod fixture;
mod front_end;
mod hostile;
mod log;
mod message;
mod real_guest;
mod requests;
mod same_as_model;
mod sessions;
mod socket;
mod tree;
