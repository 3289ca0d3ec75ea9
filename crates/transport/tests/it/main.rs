//! Archives of all ages and forms, as their makers write them, and as nobody should.

mod builder;
mod directories;
mod docker;
mod hostile;
mod oci;
mod pull;
mod tools;
mod validation;
