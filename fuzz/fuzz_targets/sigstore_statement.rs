//! Any bytes as a statement, and as JSON without duplicate members.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = vmroot_sigstore::Statement::parse(data) {
        let _ = statement.expect_signature();
        assert!(!statement.subjects.is_empty());
    }
    if let Ok(value) = vmroot_sigstore::strict_json::parse(data, "input", 1 << 20) {
        assert_eq!(serde_json::from_slice::<serde_json::Value>(data).ok(), Some(value));
    }
});
