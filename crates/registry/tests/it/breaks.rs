//! Connections that break in the middle of a blob: the rest, and no more, is asked for again.

use std::io::Read;
use std::time::Duration;

use vmroot_registry::Error;
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{BLOBS, FOREVER, Fixture, client, from, impatient, inner, says};

#[test]
fn nothing_breaks() {
    let fixture = Fixture::new();
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None]);
}

#[test]
fn a_cut_is_followed_by_a_request_for_the_rest() {
    for cut in [0, 1, 4096, 99_999] {
        let fixture = Fixture::new().blobs(1, Fault::CutAfter(cut));
        fixture.pulls();
        let rest = if cut == 0 { None } else { from(cut) };
        assert_eq!(fixture.ranges(), [None, rest], "{cut}");
    }
}

#[test]
fn a_rest_may_be_cut_as_well() {
    let fixture = Fixture::new().blobs(3, Fault::CutAfter(10_000));
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None, from(10_000), from(20_000), from(30_000)]);
}

#[test]
fn breaks_that_bring_it_forward_do_not_count() {
    // 50 breaks, of which three in a row would be borne.
    let fixture = Fixture::new().blobs(usize::MAX, Fault::CutAfter(2_000));
    fixture.pulls();
    assert_eq!(fixture.ranges().len(), 50);
}

#[test]
fn breaks_that_bring_it_hardly_forward_do() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::CutAfter(100));
    let digest = fixture.layer.digest.to_string();
    let error = says(fixture.pull(), &[&digest, "at byte 400", "after 4 attempts", "http://127.0.0.1"]);
    let Error::Interrupted { offset: 400, attempts: 4, .. } = error else { panic!("{error:?}") };
    assert_eq!(fixture.ranges(), [None, from(100), from(200), from(300)]);
}

#[test]
fn a_stall_is_a_break() {
    let fixture = Fixture::new().blobs(1, Fault::StallAfter(5_000, FOREVER));
    assert!(fixture.pull_with(&impatient(), 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.ranges(), [None, from(5_000)]);
}

#[test]
fn endless_stalls_are_an_error() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::StallAfter(0, FOREVER));
    let error = says(fixture.pull_with(&impatient(), 0), &["at byte 0", "nothing came for 500 ms"]);
    assert!(matches!(error, Error::Interrupted { attempts: 4, .. }), "{error:?}");
}

#[test]
fn silence_before_the_answer_is_retried_only_once_over() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::Delay(FOREVER));
    let error =
        says(fixture.pull_with(&impatient(), 0), &[&fixture.layer.digest.to_string(), "sent nothing for 500 ms"]);
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
    assert_eq!(fixture.ranges().len(), 4);
}

#[test]
fn slow_is_not_stalled() {
    // Ten pieces, a tenth of a second apart: twice the patience, but never without a byte for so long.
    let fixture = Fixture::with_blob(20).blobs(1, Fault::Slow(2, Duration::from_millis(100)));
    assert_eq!(fixture.pull_with(&impatient(), 0).unwrap(), fixture.bytes);
    assert_eq!(fixture.ranges(), [None]);
}

#[test]
fn the_rest_is_taken_from_everything_if_ranges_are_ignored() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::IgnoreRange));
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None, from(60_000)]);
}

#[test]
fn everything_may_be_cut_before_the_rest_begins() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).times(1).fault(Fault::CutAfter(70_000)));
    fixture.registry.misbehave(Rule::on(BLOBS).fault(Fault::IgnoreRange));
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None, from(60_000), from(70_000)]);
}

#[test]
fn who_cannot_start_there_starts_at_the_beginning() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(60_000));
    let refusal = Fault::Status(416, vec![], String::new());
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1).times(1).fault(refusal));
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None, from(60_000), None]);
}

#[test]
fn chunked_bodies_have_no_length_and_need_none() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::Chunked).blobs(1, Fault::CutAfter(50_000));
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None, from(50_000)]);
}

#[test]
fn the_end_of_the_connection_is_no_end_of_the_blob() {
    let fixture = Fixture::new().blobs(usize::MAX, Fault::NoContentLength).blobs(1, Fault::CutAfter(50_000));
    fixture.pulls();
    assert_eq!(fixture.ranges(), [None, from(50_000)]);
}

#[test]
fn a_connection_closed_or_full_of_garbage_is_tried_again() {
    for fault in [Fault::Close, Fault::Garbage(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())] {
        let fixture = Fixture::new().blobs(3, fault.clone());
        fixture.pulls();
        assert_eq!(fixture.ranges().len(), 4, "{fault:?}");

        let fixture = Fixture::new().blobs(4, fault.clone());
        let error = says(fixture.pull(), &[&fixture.layer.digest.to_string()]);
        assert!(matches!(error, Error::Broken { .. }), "{fault:?}: {error:?}");
    }
}

#[test]
fn begins_where_told() {
    let fixture = Fixture::new();
    assert!(fixture.pull_with(&client(), 77_777).unwrap() == fixture.bytes[77_777..]);
    assert_eq!(fixture.ranges(), [from(77_777)]);
    assert!(fixture.pull_with(&client(), 100_000).unwrap().is_empty());
    assert_eq!(fixture.ranges().len(), 1, "nothing is left to be asked for");
}

#[test]
fn a_plain_body_ends_with_the_error_of_its_connection() {
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(500));
    let mut body = client().blob(&fixture.reference(), &fixture.layer, 0).unwrap();
    assert_eq!(body.offset(), 0);
    let mut bytes = Vec::new();
    let error = inner(body.read_to_end(&mut bytes).unwrap_err());
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(bytes == fixture.bytes[..500]);
}

#[test]
fn an_empty_blob_needs_no_request() {
    let fixture = Fixture::with_blob(0);
    assert!(fixture.pull().unwrap().is_empty());
}

#[test]
fn a_hundred_random_ways_to_break() {
    // A fixed sequence of numbers that look random.
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
