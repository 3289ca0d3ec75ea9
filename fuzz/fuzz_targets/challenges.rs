//! Any bytes as the challenges of a registry, which decide where credentials go.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vmroot_registry::fuzzing::challenges(data));
