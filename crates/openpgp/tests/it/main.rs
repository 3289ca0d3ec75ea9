//! Tests of the crate. The judge is GnuPG: it makes keys and messages, and says which it accepts.

mod crafted;
mod gnupg;
mod keys;
mod messages;
mod mutation;
mod signing;
