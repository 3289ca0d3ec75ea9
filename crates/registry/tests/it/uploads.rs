//! Uploads of blobs, and their continuation.

use std::io::Read;
use std::thread;
use std::time::Duration;

use vmroot_model::{Digest, Reference};
use vmroot_registry::{Cancel, Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, Features, Registry, Request, Rule};

use crate::fixture::{FOREVER, NAME, assert_message, client, options, pattern};
use crate::uploaded::Blob;

const UPLOADS: &str = "/blobs/uploads/";

/// A blob that is too large for one request.
const LARGE: usize = 5_000_000;

fn reference(registry: &Registry) -> Reference {
    Reference::parse(&format!("{}/{NAME}", registry.host())).unwrap()
}

/// Returns the requests of uploads.
fn uploads(registry: &Registry) -> Vec<Request> {
    registry.requests().into_iter().filter(|request| request.path.contains(UPLOADS)).collect()
}

fn methods(registry: &Registry) -> Vec<String> {
    uploads(registry).into_iter().map(|request| request.method).collect()
}

/// Returns the ranges and lengths of the PATCH requests.
fn patches(registry: &Registry) -> Vec<(Option<String>, u64)> {
    let patches = uploads(registry).into_iter().filter(|request| request.method == "PATCH");
    patches.map(|request| (request.header("content-range").map(str::to_owned), request.body_length)).collect()
}

#[track_caller]
fn assert_stored(registry: &Registry, bytes: &[u8]) {
    let content = registry.blob(NAME, &Digest::of(bytes)).expect("the registry has the blob");
    let mut stored = Vec::new();
    content.reader(0).unwrap().read_to_end(&mut stored).unwrap();
    assert!(stored == bytes, "the registry has other bytes");
    assert_eq!(registry.open_uploads(), 0);
}

#[track_caller]
fn assert_aborted(registry: &Registry, bytes: &[u8]) {
    assert!(registry.blob(NAME, &Digest::of(bytes)).is_none());
    assert_eq!(registry.open_uploads(), 0, "the upload is deleted");
}

fn small_window() -> Client {
    Client::new(ClientOptions { upload_window: 100_000, ..options() }).unwrap()
}

#[test]
fn a_short_blob_is_one_put() {
    for size in [0, 1, 1 << 20] {
        let registry = Registry::start();
        let bytes = pattern(size);
        client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)).unwrap();
        assert_stored(&registry, &bytes);
        let requests = uploads(&registry);
        assert_eq!(methods(&registry), ["POST", "PUT"]);
        assert_eq!(requests[0].header("content-length"), Some("0"));
        assert_eq!(requests[1].query("digest"), [Digest::of(&bytes).to_string()]);
        assert_eq!(requests[1].query("_state"), ["1"], "the query of the Location is kept");
        assert_eq!(requests[1].header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(requests[1].header("content-type"), Some("application/octet-stream"));
    }
}

#[test]
fn a_large_blob_is_one_patch() {
    let bytes = pattern(LARGE);
    for (mut blob, length) in [(Blob::known(&bytes), Some("5000000")), (Blob::unknown(&bytes), None)] {
        let registry = Registry::start();
        client().upload_blob(&reference(&registry), &mut blob).unwrap();
        assert_stored(&registry, &bytes);
        let requests = uploads(&registry);
        assert_eq!(methods(&registry), ["POST", "PATCH", "PUT"]);
        assert_eq!(requests[1].header("content-length"), length);
        assert_eq!(requests[1].header("transfer-encoding"), if length.is_none() { Some("chunked") } else { None });
        assert_eq!(patches(&registry), [(None, LARGE as u64)]);
        assert_eq!(requests[2].query("_state"), ["2"], "the latest Location is used");
        assert_eq!(requests[2].header("content-length"), Some("0"));
    }
}

#[test]
fn an_empty_blob_of_unknown_size() {
    let registry = Registry::start();
    client().upload_blob(&reference(&registry), &mut Blob::unknown(b"")).unwrap();
    assert_stored(&registry, b"");
}

#[test]
fn an_interrupted_upload_continues() {
    let bytes = pattern(LARGE);
    let last = LARGE - 1;
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1_234_567)));
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").skip(1).times(1).fault(Fault::CutRequest(1_000_000)));
    client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)).unwrap();
    assert_stored(&registry, &bytes);
    assert_eq!(methods(&registry), ["POST", "PATCH", "GET", "PATCH", "GET", "PATCH", "PUT"]);
    let expected = [
        (None, 1_234_567),
        (Some(format!("1234567-{last}")), 1_000_000),
        (Some(format!("2234567-{last}")), LARGE as u64 - 2_234_567),
    ];
    assert_eq!(patches(&registry), expected);
}

#[test]
fn an_interrupted_upload_of_unknown_size_continues_in_chunks() {
    let bytes = pattern(10_000_000);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1_000_000)));
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").skip(2).times(1).fault(Fault::CutRequest(500_000)));
    client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes)).unwrap();
    assert_stored(&registry, &bytes);
    let chunk = 4 << 20;
    let second = 1_000_000 + chunk;
    let range = |first: u64, last: u64| Some(format!("{first}-{last}"));
    let expected = [
        (None, 1_000_000),
        (range(1_000_000, second - 1), chunk),
        (range(second, second + chunk - 1), 500_000),
        (range(second + 500_000, second + 500_000 + chunk - 1), chunk),
        (range(second + 500_000 + chunk, 9_999_999), 10_000_000 - second - 500_000 - chunk),
    ];
    assert_eq!(patches(&registry), expected);
}

#[test]
fn chunks_have_the_minimum_length() {
    let bytes = pattern(20_000_000);
    let registry = Registry::start();
    registry.configure(Features { min_chunk: Some(6_000_000), ..Features::default() });
    let cut = Rule::on(UPLOADS).method("PATCH").times(1);
    registry.misbehave(cut.fault(Fault::CutRequest(0)));
    client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes)).unwrap_err();
    assert_eq!(registry.open_uploads(), 0, "a chunk of 0 bytes is too short, so nothing may follow");

    let registry = Registry::start();
    registry.configure(Features { min_chunk: Some(6_000_000), ..Features::default() });
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(7_000_000)));
    client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes)).unwrap();
    assert_stored(&registry, &bytes);
    let lengths: Vec<u64> = patches(&registry).into_iter().map(|(_, length)| length).collect();
    assert_eq!(lengths, [7_000_000, 6_000_000, 6_000_000, 1_000_000]);

    let registry = Registry::start();
    registry
        .misbehave(Rule::on(UPLOADS).method("POST").fault(Fault::Header("OCI-Chunk-Min-Length", "99999999999".into())));
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1)));
    let uploaded = client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes));
    assert_message(uploaded, &[UPLOADS, "chunks of 99999999999 bytes", "CHUNK_LIMIT"]);
    assert_aborted(&registry, &bytes);
}

#[test]
fn bytes_that_the_registry_lost_are_sent_again() {
    let bytes = pattern(LARGE);
    for mut blob in [Blob::known(&bytes), Blob::unknown(&bytes)] {
        let registry = Registry::start();
        let lossy = Rule::on(UPLOADS).method("PATCH").times(1);
        registry.misbehave(lossy.fault(Fault::CutRequest(3_000_000)).fault(Fault::ShortenUpload(2_500_000)));
        client().upload_blob(&reference(&registry), &mut blob).unwrap();
        assert_stored(&registry, &bytes);
        assert!(patches(&registry)[1].0.as_ref().unwrap().starts_with("2500000-"));
    }
    // The response itself says that some bytes are missing.
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::ShortenUpload(4_900_000)));
    client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)).unwrap();
    assert_stored(&registry, &bytes);
}

#[test]
fn an_upload_that_cannot_continue_may_be_restarted() {
    let bytes = pattern(LARGE);
    let lossy = || Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(3_000_000));
    for (rules, text) in [
        (vec![lossy().fault(Fault::ShortenUpload(2))], "no longer in memory"),
        (vec![lossy(), Rule::on(UPLOADS).method("GET").fault(Fault::ForgetUpload)], "BLOB_UPLOAD_UNKNOWN"),
        (vec![lossy(), Rule::on(UPLOADS).method("GET").fault(Fault::WithoutHeader("Range"))], "no Range"),
        (vec![lossy(), Rule::on(UPLOADS).method("GET").fault(Fault::Header("Range", "0-99999999".into()))], "memory"),
    ] {
        for blob in [Blob::known, Blob::unknown] {
            let registry = Registry::start();
            rules.iter().for_each(|rule| registry.misbehave(rule.clone()));
            let client = small_window();
            let error = assert_message(client.upload_blob(&reference(&registry), &mut blob(&bytes)), &[UPLOADS, text]);
            assert!(matches!(error, Error::UploadInterrupted { .. }) && error.may_restart_upload(), "{error:?}");
            assert_aborted(&registry, &bytes);
            assert_eq!(methods(&registry).last().unwrap(), "DELETE");
            registry.behave();
            client.upload_blob(&reference(&registry), &mut blob(&bytes)).unwrap();
            assert_stored(&registry, &bytes);
        }
    }
}

#[test]
fn a_lost_upload_may_be_restarted() {
    let bytes = pattern(LARGE);
    for method in ["PATCH", "PUT"] {
        for blob in [Blob::known, Blob::unknown] {
            let registry = Registry::start();
            registry.misbehave(Rule::on(UPLOADS).method(method).fault(Fault::ForgetUpload));
            let uploaded = client().upload_blob(&reference(&registry), &mut blob(&bytes));
            let error = assert_message(uploaded, &[UPLOADS, "BLOB_UPLOAD_UNKNOWN"]);
            assert!(error.may_restart_upload(), "{method}: {error:?}");
            registry.behave();
            client().upload_blob(&reference(&registry), &mut blob(&bytes)).unwrap();
            assert_stored(&registry, &bytes);
        }
    }
}

#[test]
fn retries_are_limited() {
    let bytes = pattern(LARGE);
    for mut blob in [Blob::known(&bytes), Blob::unknown(&bytes)] {
        let registry = Registry::start();
        registry.misbehave(Rule::on(UPLOADS).method("PATCH").fault(Fault::CutRequest(10)));
        let uploaded = client().upload_blob(&reference(&registry), &mut blob);
        let error = assert_message(uploaded, &[UPLOADS, "gave up after 4 attempts"]);
        assert!(error.may_restart_upload(), "{error:?}");
        assert_eq!(patches(&registry).len(), 4);
        assert_aborted(&registry, &bytes);
    }
}

#[test]
fn a_failure_of_deletion_is_ignored() {
    let bytes = pattern(LARGE);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").fault(Fault::Status(403, vec![], "denied".into())));
    registry.misbehave(Rule::on(UPLOADS).method("DELETE").fault(Fault::Status(500, vec![], String::new())));
    let error =
        assert_message(client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)), &["403", "denied"]);
    assert!(matches!(error, Error::Unauthorized { .. }) && !error.may_restart_upload(), "{error:?}");
    assert_eq!(methods(&registry).iter().filter(|method| *method == "DELETE").count(), 1);
}

#[test]
fn failures_of_each_step_are_retried() {
    let bytes = pattern(LARGE);
    let faults = [
        Fault::Status(503, vec![], String::new()),
        Fault::Status(429, vec![("Retry-After", "0".to_owned())], String::new()),
        Fault::Status(500, vec![], "oops".to_owned()),
        Fault::Close,
        Fault::CutRequest(0),
    ];
    for fault in faults {
        for method in ["POST", "PATCH", "GET", "PUT"] {
            for mut blob in [Blob::known(&bytes), Blob::unknown(&bytes)] {
                let registry = Registry::start();
                if method == "GET" {
                    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1_000_000)));
                }
                registry.misbehave(Rule::on(UPLOADS).method(method).times(2).fault(fault.clone()));
                let uploaded = client().upload_blob(&reference(&registry), &mut blob);
                uploaded.unwrap_or_else(|error| panic!("{method} {fault:?}: {error}"));
                let stored = registry.blob(NAME, &Digest::of(&bytes)).unwrap();
                assert_eq!(stored.size().unwrap(), LARGE as u64, "{method} {fault:?}");
            }
        }
        let registry = Registry::start();
        registry.misbehave(Rule::on(UPLOADS).method("PUT").times(2).fault(fault.clone()));
        client().upload_blob(&reference(&registry), &mut Blob::known(b"short")).unwrap();
        assert!(registry.blob(NAME, &Digest::of(b"short")).is_some(), "{fault:?}");
    }
}

#[test]
fn a_chunk_at_a_wrong_offset_is_corrected() {
    let bytes = pattern(LARGE);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1_000_000)));
    // A stale offset: the registry writes the rest of the broken request later.
    registry.misbehave(Rule::on(UPLOADS).method("GET").times(1).fault(Fault::Header("Range", "0-899999".into())));
    client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)).unwrap();
    assert_stored(&registry, &bytes);
    assert_eq!(methods(&registry), ["POST", "PATCH", "GET", "PATCH", "GET", "PATCH", "PUT"]);
}

#[test]
fn a_lost_answer_to_the_last_request_is_no_failure() {
    let bytes = pattern(LARGE);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PUT").times(1).fault(Fault::Close));
    client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes)).unwrap();
    assert_stored(&registry, &bytes);
    let last = registry.requests().pop().unwrap();
    assert_eq!((last.method.as_str(), last.path.contains(UPLOADS)), ("HEAD", false));
}

#[test]
fn a_refused_patch_becomes_a_put() {
    let bytes = pattern(LARGE);
    let page = || "404 page not found".to_owned();
    for (status, early) in [(404, false), (405, false), (501, false), (405, true), (411, true)] {
        let refuse = |registry: &Registry, times: usize| {
            let rule = Rule::on(UPLOADS).method("PATCH").times(times);
            let rule = rule.fault(Fault::Status(status, vec![], page())).fault(Fault::ShortenUpload(0));
            registry.misbehave(if early { rule.fault(Fault::AnswerEarly) } else { rule });
        };
        let registry = Registry::start();
        refuse(&registry, usize::MAX);
        client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)).unwrap();
        assert_stored(&registry, &bytes);
        assert_eq!(methods(&registry), ["POST", "PATCH", "PUT"], "{status}");

        // Without a digest in advance, chunks of known lengths are tried.
        let registry = Registry::start();
        refuse(&registry, 1);
        client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes)).unwrap();
        assert_stored(&registry, &bytes);
        assert_eq!(methods(&registry), ["POST", "PATCH", "PATCH", "PATCH", "PUT"], "{status}");

        let registry = Registry::start();
        refuse(&registry, usize::MAX);
        let uploaded = client().upload_blob(&reference(&registry), &mut Blob::unknown(&bytes));
        let error = assert_message(uploaded, &[UPLOADS, "404 page not found"]);
        assert!(!error.may_restart_upload(), "{error:?}");
        assert_aborted(&registry, &bytes);
    }
}

#[test]
fn relative_locations() {
    let bytes = pattern(LARGE);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).fault(Fault::LocationAt(String::new())));
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1_000_000)));
    client().upload_blob(&reference(&registry), &mut Blob::known(&bytes)).unwrap();
    client().upload_blob(&reference(&registry), &mut Blob::known(b"short")).unwrap();
    assert_stored(&registry, &bytes);
    assert_stored(&registry, b"short");
}

#[test]
fn an_upload_without_a_location_is_an_error() {
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("POST").fault(Fault::WithoutHeader("Location")));
    let uploaded = client().upload_blob(&reference(&registry), &mut Blob::known(b"short"));
    assert_message(uploaded, &[UPLOADS, "no Location"]);
    for location in ["ftp://a/b", "http://"] {
        registry.behave();
        registry.misbehave(Rule::on(UPLOADS).method("POST").fault(Fault::Header("Location", location.into())));
        assert_message(client().upload_blob(&reference(&registry), &mut Blob::known(b"x")), &[UPLOADS, "not followed"]);
    }
}

#[test]
fn redirects_keep_the_method_and_the_body() {
    let bytes = pattern(LARGE);
    for method in ["POST", "PATCH", "PUT"] {
        let (registry, storage) = (Registry::start(), Registry::start());
        // Both registries open the same upload, and one of them receives each request.
        registry.misbehave(Rule::on(UPLOADS).method(method).times(1).fault(Fault::RedirectTo(registry.url())));
        client().upload_blob(&reference(&registry), &mut Blob::known(b"short")).unwrap();
        assert_eq!(storage.count(""), 0);
        registry.behave();
        let target = format!("{}/elsewhere", storage.url());
        registry.misbehave(Rule::on(UPLOADS).method(method).fault(Fault::Redirect(302, target)));
        let uploaded = client().upload_blob(&reference(&registry), &mut Blob::known(&bytes));
        assert_message(uploaded, &[UPLOADS, "302", method]);
        assert_eq!(storage.count(""), 0);
    }
}

#[test]
fn sha512_is_stated_at_the_start() {
    for size in [10, LARGE] {
        let bytes = pattern(size);
        let registry = Registry::start();
        client().upload_blob(&reference(&registry), &mut Blob::sha512(&bytes)).unwrap();
        let requests = uploads(&registry);
        assert_eq!(requests[0].query("digest-algorithm"), ["sha512"]);
        assert!(requests.last().unwrap().query("digest")[0].starts_with("sha512:"));
    }
}

#[test]
fn a_wrong_digest_is_an_error() {
    for size in [10, LARGE] {
        let registry = Registry::start();
        let mut blob = Blob::known(&pattern(size));
        blob.claims(Digest::of(b"other"));
        let error =
            assert_message(client().upload_blob(&reference(&registry), &mut blob), &[UPLOADS, "DIGEST_INVALID"]);
        assert!(!error.may_restart_upload(), "{error:?}");
        assert_eq!(registry.open_uploads(), 0);
    }
}

#[test]
fn a_source_that_fails_ends_the_upload() {
    let bytes = pattern(LARGE);
    for mut blob in [Blob::known(&bytes), Blob::unknown(&bytes), Blob::known(b"short")] {
        let registry = Registry::start();
        blob.fails_at = if blob.is_large() { 3_000_000 } else { 2 };
        let error = assert_message(client().upload_blob(&reference(&registry), &mut blob), &[NAME, "on fire"]);
        assert!(matches!(error, Error::Source { .. }) && !error.may_restart_upload(), "{error:?}");
        assert_aborted(&registry, &bytes);
    }
    for size in [10, LARGE] {
        for claimed in [size as u64 - 1, size as u64 + 1] {
            let registry = Registry::start();
            let bytes = pattern(size);
            let mut blob = Blob::known(&bytes);
            blob.claims_size(claimed);
            let uploaded = client().upload_blob(&reference(&registry), &mut blob);
            let error = assert_message(uploaded, &[NAME, &format!("should have {claimed} bytes")]);
            assert_eq!(error.kind(), vmroot_errors::ErrorKind::Integrity);
            assert_aborted(&registry, &bytes);
        }
    }
}

#[test]
fn a_slow_source_is_no_stall() {
    let bytes = pattern(2_000_000);
    let registry = Registry::start();
    let client = Client::new(ClientOptions { inactivity_timeout: Duration::from_millis(300), ..options() }).unwrap();
    let mut blob = Blob::unknown(&bytes);
    blob.pauses = Some(Duration::from_millis(700));
    client.upload_blob(&reference(&registry), &mut blob).unwrap();
    assert_stored(&registry, &bytes);
    assert_eq!(methods(&registry), ["POST", "PATCH", "PUT"]);
}

#[test]
fn a_registry_that_never_answers_is_a_stall() {
    let bytes = pattern(LARGE);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").fault(Fault::Delay(Duration::from_secs(5))));
    let client =
        Client::new(ClientOptions { inactivity_timeout: Duration::from_millis(300), retries: 0, ..options() }).unwrap();
    let error =
        assert_message(client.upload_blob(&reference(&registry), &mut Blob::known(&bytes)), &[UPLOADS, "300 ms"]);
    assert!(error.may_restart_upload(), "{error:?}");
}

#[test]
fn cancelling_ends_an_upload() {
    let bytes = pattern(LARGE);
    let registry = Registry::start();
    registry.misbehave(Rule::on(UPLOADS).method("PATCH").fault(Fault::Delay(FOREVER)));
    let cancel = Cancel::new();
    let client = client().with_cancel(cancel.clone());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !uploads(&registry).iter().any(|request| request.method == "PATCH" && request.body_length > 0) {
                thread::sleep(Duration::from_millis(5));
            }
            cancel.cancel();
        });
        let uploaded = client.upload_blob(&reference(&registry), &mut Blob::known(&bytes));
        assert!(matches!(uploaded, Err(Error::Cancelled)), "{uploaded:?}");
    });
}

#[test]
fn parallel_uploads() {
    let registry = Registry::start();
    let client = client();
    thread::scope(|scope| {
        for number in 0..6 {
            let (registry, client) = (&registry, &client);
            scope.spawn(move || {
                let mut bytes = pattern(2_000_000);
                bytes[0] = number;
                client.upload_blob(&reference(registry), &mut Blob::unknown(&bytes)).unwrap();
                assert!(registry.blob(NAME, &Digest::of(&bytes)).is_some());
            });
        }
    });
    assert_eq!(registry.open_uploads(), 0);
}
