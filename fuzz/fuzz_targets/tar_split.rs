//! Any bytes as the tar-split file of a layer in containers-storage: refused, or parts of a tar.

#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    file.write_all(data).expect("there is room for its bytes");
    vmroot_transport::fuzzing::tar_split(file.path());
});
