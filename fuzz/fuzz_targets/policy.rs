//! Any bytes as a policy: refused, or one that rejects or accepts an unsigned image without a panic.

#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use vmroot_model::{Digest, Reference};
use vmroot_trust::{EvaluationOptions, ImageIdentity, ImageToJudge, NoSignatures, Policy, evaluate};

fuzz_target!(|data: &[u8]| {
    let Ok(policy) = Policy::parse_overlay(data) else { return };
    let reference = Reference::parse("example.com/a:1").expect("it is a name");
    let identity = ImageIdentity::docker(&reference).expect("it has a tag");
    let image = ImageToJudge { identity: &identity, manifest: b"{}", digest: Digest::of(b"{}"), indexes: &[] };
    let _ = policy.requirements(&identity).section();
    // Requirements with files are not evaluated, because a path could name any file.
    if !policy.requirements(&identity).requirements.iter().any(|requirement| requirement.verifies_signatures()) {
        let options = EvaluationOptions { now: SystemTime::UNIX_EPOCH, require_signed: true };
        assert!(!evaluate(&policy, &image, &NoSignatures, &options).is_accepted());
    }
});
