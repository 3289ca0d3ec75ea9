//! Interrupted blobs: only the missing rest is requested again.

use std::io::Read;
use std::time::Duration;

use vmroot_registry::Error;
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{
    BLOBS, FOREVER, Fixture, assert_message, client, client_with_short_timeout, inner_error, range_from,
};

#[test]
fn a_blob_without_faults_takes_one_request() {
    let fixture = Fixture::new();
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None]);
}

#[test]
fn the_rest_is_requested_after_a_truncated_body() {
    for cut in [0, 1, 4096, 99_999] {
        let fixture = Fixture::new().blobs(1, Fault::CutAfter(cut));
        fixture.assert_pulls();
        let rest = if cut == 0 { None } else { range_from(cut) };
        assert_eq!(fixture.ranges(), [None, rest], "{cut}");
    }
}

#[test]
fn repeated_truncation_is_resumed_each_time() {
    let fixture = Fixture::new().blobs(3, Fault::CutAfter(10_000));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(10_000), range_from(20_000), range_from(30_000)]);
}

#[test]
fn interruptions_with_progress_do_not_count() {
    // 50 interruptions. The options allow three without progress.
    let fixture = Fixture::new().blobs(usize::MAX, Fault::CutAfter(2_000));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges().len(), 50);
}

#[test]
fn interruptions_with_little_progress_count() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::CutAfter(100));
    let digest = fixture.layer.digest.to_string();
    let error = assert_message(fixture.pull(), &[&digest, "at byte 400", "after 4 attempts", "http://127.0.0.1"]);
    let Error::Interrupted { offset: 400, attempts: 4, .. } = error else { panic!("{error:?}") };
    assert_eq!(fixture.ranges(), [None, range_from(100), range_from(200), range_from(300)]);
}

#[test]
fn a_stall_is_an_interruption() {
    let fixture = Fixture::new().blobs(1, Fault::StallAfter(5_000, FOREVER));
    assert!(fixture.pull_with(&client_with_short_timeout(), 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.ranges(), [None, range_from(5_000)]);
}

#[test]
fn endless_stalls_are_an_error() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::StallAfter(0, FOREVER));
    let error =
        assert_message(fixture.pull_with(&client_with_short_timeout(), 0), &["at byte 0", "no data for 500 ms"]);
    assert!(matches!(error, Error::Interrupted { attempts: 4, .. }), "{error:?}");
}

#[test]
fn stalls_before_the_response_are_retried_by_one_layer_only() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::Delay(FOREVER));
    let error = assert_message(
        fixture.pull_with(&client_with_short_timeout(), 0),
        &[&fixture.layer.digest.to_string(), "sent nothing for 500 ms"],
    );
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
    assert_eq!(fixture.ranges().len(), 4);
}

#[test]
fn a_slow_transfer_is_not_a_stall() {
    // Ten pieces, a tenth of a second apart: twice the inactivity timeout in total, but never that long without a byte.
    let fixture = Fixture::with_blob(20).blobs(1, Fault::Slow(2, Duration::from_millis(100)));
    assert_eq!(fixture.pull_with(&client_with_short_timeout(), 0).unwrap(), fixture.bytes);
    assert_eq!(fixture.ranges(), [None]);
}

#[test]
fn resumes_from_a_whole_body_if_ranges_are_ignored() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::IgnoreRange));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(60_000)]);
}

#[test]
fn a_whole_body_may_be_truncated_before_the_rest_begins() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).times(1).fault(Fault::CutAfter(70_000)));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::IgnoreRange));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(60_000), range_from(70_000)]);
}

#[test]
fn status_416_is_followed_by_a_request_for_the_whole_blob() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    let refusal = Fault::Status(416, vec![], String::new());
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).times(1).fault(refusal));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(60_000), None]);
}

#[test]
fn chunked_bodies_need_no_length() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::Chunked).blobs(1, Fault::CutAfter(50_000));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(50_000)]);
}

#[test]
fn a_closed_connection_does_not_end_the_blob() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::NoContentLength).blobs(1, Fault::CutAfter(50_000));
    fixture.assert_pulls();
    assert_eq!(fixture.ranges(), [None, range_from(50_000)]);
}

#[test]
fn closed_connections_and_garbage_are_retried() {
    for fault in [Fault::Close, Fault::Garbage(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())] {
        let fixture = Fixture::new().blobs(3, fault.clone());
        fixture.assert_pulls();
        assert_eq!(fixture.ranges().len(), 4, "{fault:?}");

        let fixture = Fixture::new().blobs(4, fault.clone());
        let error = assert_message(fixture.pull(), &[&fixture.layer.digest.to_string()]);
        assert!(matches!(error, Error::Broken { .. }), "{fault:?}: {error:?}");
    }
}

#[test]
fn starts_at_the_requested_offset() {
    let fixture = Fixture::new();
    assert!(fixture.pull_with(&client(), 77_777).unwrap() == fixture.bytes[77_777..]);
    assert_eq!(fixture.ranges(), [range_from(77_777)]);
    assert!(fixture.pull_with(&client(), 100_000).unwrap().is_empty());
    assert_eq!(fixture.ranges().len(), 1, "no byte is left to request");
}

#[test]
fn a_plain_body_returns_the_error_of_its_connection() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(500));
    let mut body = client().blob(&fixture.reference(), &fixture.layer, 0).unwrap();
    assert_eq!(body.offset(), 0);
    let mut bytes = Vec::new();
    let error = inner_error(body.read_to_end(&mut bytes).unwrap_err());
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(bytes == fixture.bytes[..500]);
}

#[test]
fn an_empty_blob_needs_no_request() {
    let fixture = Fixture::with_blob(0);
    assert!(fixture.pull().unwrap().is_empty());
}

#[test]
fn random_faults_change_no_byte() {
    // A fixed pseudo-random sequence.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..100 {
        let fixture = Fixture::with_blob(3_000);
        for _ in 0..next(4) {
            let cut = next(3_000);
            let fault =
                [Fault::CutAfter(cut), Fault::Close, Fault::IgnoreRange, Fault::Chunked][next(4) as usize].clone();
            fixture.registry.misbehave(Rule::on(BLOBS).skip(next(2) as usize).times(1).fault(fault));
        }
        assert!(fixture.pull().unwrap() == fixture.bytes, "round {round}: {:?}", fixture.ranges());
    }
}
