//! Tests of the console's input and output, and of the ends of guests.

use std::io::Write;
use std::time::Duration;

use vmroot_boot::{Error, Via};
use vmroot_testkit::FullMessage as _;

use crate::fixture::{Boot, needs_guests, script};

#[test]
fn output_and_exit_code_arrive_unchanged() {
    if needs_guests() {
        return;
    }
    let root =
        script(r"printf 'a\nb\r\n\000\377\001[vmroot-init] no'; printf 'to stderr\n' >&2; printf 'the end'; exit 42");
    let (ended, output) = Boot::via(Via::Cpio).run(&root);
    let ended = ended.unwrap();
    assert_eq!(output, b"a\nb\r\n\0\xff\x01[vmroot-init] noto stderr\nthe end");
    assert_eq!((ended.code, ended.error), (Some(42), None));
    assert!(ended.started.unwrap() < ended.executed.unwrap());
}

#[test]
fn input_arrives_and_has_an_end() {
    if needs_guests() {
        return;
    }
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let mut input = tempfile::NamedTempFile::new().unwrap();
    input.write_all(&bytes).unwrap();
    let mut boot = Boot::via(Via::Erofs);
    boot.input = Some(input.path().to_owned());
    let (ended, output) = boot.run(&script("cat; echo; echo done"));
    assert_eq!(ended.unwrap().code, Some(0));
    assert!(output == [&bytes[..], b"\ndone\n"].concat(), "{} bytes: {}", output.len(), output.escape_ascii());
}

#[test]
fn a_guest_that_takes_too_long_is_ended() {
    if needs_guests() {
        return;
    }
    let mut boot = Boot::via(Via::Erofs);
    // A guest on a busy machine takes several seconds to its first word.
    boot.timeout = Duration::from_secs(20);
    let (ended, output) = boot.run(&script("echo begun; sleep 1000"));
    assert!(matches!(ended, Err(Error::Timeout(_))), "{ended:?}");
    assert_eq!(output, b"begun\n");
}

#[test]
fn a_missing_command_is_named() {
    if needs_guests() {
        return;
    }
    let config = serde_json::json!({ "entrypoint": ["/no/such"], "tty": false });
    let root = crate::fixture::Root::of(&[crate::fixture::guest_layer(&config)]);
    let (ended, output) = Boot::via(Via::Erofs).run(&root);
    let ended = ended.unwrap();
    assert_eq!((ended.code, output), (Some(127), Vec::new()));
    assert!(ended.error.unwrap().contains("/no/such"));
}

#[test]
fn a_guest_without_an_init_ends_with_a_kernel_panic() {
    if needs_guests() {
        return;
    }
    let mut boot = Boot::via(Via::Cpio);
    boot.init = Some("/no/init");
    let (ended, _) = boot.run(&script("true"));
    let error = ended.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }) && error.full_message().contains("Kernel panic"), "{error}");
}
