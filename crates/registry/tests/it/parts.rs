//! Splitting of large blobs whose connections are slow.

use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use vmroot_model::{Descriptor, MediaType};
use vmroot_output::Cancel;
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Auth, Bearer, Fault, PlainAnswer, Registry, Rule};

use crate::fixture::{BLOBS, FOREVER, Fixture, inner_error, options, password, pattern, range_from, read};
use crate::tls::trusting_client_with;

const MIB: usize = 1 << 20;

/// The size of a part.
const PART: u64 = 4 << 20;

/// A blob of five parts and some bytes, in a registry that sends about 50 MB/s over each connection.
fn slow_fixture() -> Fixture {
    with_slow_blobs(Fixture::with_blob(22 * MIB + 12_345))
}

fn with_slow_blobs(fixture: Fixture) -> Fixture {
    fixture.blobs(usize::MAX, Fault::Slow(256 << 10, Duration::from_millis(5)))
}

fn splitting_options() -> ClientOptions {
    ClientOptions { split_above: 8 << 20, connections: 4, ..options() }
}

fn client() -> Client {
    Client::new(splitting_options()).unwrap()
}

/// Adds a fault to requests for parts. The first request is not one.
fn with_parts(fixture: &Fixture, skip: usize, times: usize, fault: Fault) {
    fixture.registry.misbehave(Rule::on(BLOBS).skip(1 + skip).times(times).fault(fault));
}

/// Returns the `Range` headers of the requests for parts.
fn parts(fixture: &Fixture) -> Vec<String> {
    fixture.ranges().into_iter().flatten().filter(|range| !range.ends_with('-')).collect()
}

#[test]
fn a_slow_blob_is_fetched_in_parts() {
    let fixture = slow_fixture();
    assert!(fixture.pull_with(&client(), 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.ranges()[0], None);
    let mut parts = parts(&fixture);
    assert_eq!(parts.len() + 1, fixture.ranges().len(), "each part is requested once");
    parts.sort_by_key(|range| range.len());
    // The parts are contiguous and end at the end of the blob.
    let mut bounds: Vec<(u64, u64)> = parts
        .iter()
        .map(|range| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (first.parse().unwrap(), last.parse().unwrap())
        })
        .collect();
    bounds.sort_unstable();
    assert!(bounds.len() >= 3, "{bounds:?}");
    assert!(bounds.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{bounds:?}");
    assert!(bounds.iter().all(|(first, last)| last - first < PART), "{bounds:?}");
    assert_eq!(bounds.last().unwrap().1 + 1, fixture.layer.size);
    // The first connection was closed in the middle of the blob, which a busy registry notices late.
    assert!(
        (2..=5).contains(&fixture.registry.max_concurrent_requests()),
        "{}",
        fixture.registry.max_concurrent_requests()
    );
    assert!(fixture.registry.connections() <= 5, "{}", fixture.registry.connections());
}

#[test]
fn parts_are_fetched_with_tokens_and_over_tls_and_redirects() {
    let fixture = with_slow_blobs(Fixture::of(Registry::start_tls(PlainAnswer::BadRequest), 22 * MIB));
    let store = Registry::start_tls(PlainAnswer::BadRequest);
    store.put_blob(fixture.bytes.clone());
    store.misbehave(Rule::on("").fault(Fault::Slow(256 << 10, Duration::from_millis(5))));
    fixture.registry.require(Auth::Bearer(Bearer { uses: Some(2), ..Bearer::default() }));
    fixture.registry.misbehave(Rule::on(BLOBS).skip(4).fault(Fault::RedirectTo(store.url())));
    let client = trusting_client_with(splitting_options());
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    assert!(store.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(store.count("") > 0 && !parts(&fixture).is_empty());
}

#[test]
fn small_blobs_and_single_connections_are_not_split() {
    let fixture = slow_fixture();
    let small = Client::new(ClientOptions { split_above: fixture.layer.size, ..splitting_options() }).unwrap();
    let single = Client::new(ClientOptions { connections: 1, ..splitting_options() }).unwrap();
    for client in [small, single] {
        fixture.registry.clear_requests();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
        assert_eq!(fixture.ranges(), [None]);
    }
    assert_eq!(ClientOptions::default().split_above, 64 << 20);
}

#[test]
fn the_rest_of_a_blob_is_split_too() {
    let fixture = slow_fixture();
    let offset = 1_234_567;
    assert!(fixture.pull_with(&client(), offset).unwrap() == fixture.bytes[offset as usize..]);
    assert_eq!(fixture.ranges()[0], range_from(offset));
    assert!(!parts(&fixture).is_empty());
}

/// A registry that does not support ranges, or sends wrong ones, serves blobs as without parts.
#[test]
fn a_registry_without_parts_serves_the_whole_blob() {
    let range = |text: &str| Fault::Header("Content-Range", text.to_owned());
    let size = slow_fixture().layer.size;
    for fault in [
        Fault::IgnoreRange,
        Fault::Status(416, vec![], String::new()),
        Fault::Status(400, vec![], "no ranges here".to_owned()),
        Fault::Status(403, vec![], "no ranges here".to_owned()),
        Fault::Status(206, vec![], "part".to_owned()),
        Fault::Status(204, vec![], String::new()),
        range(&format!("bytes 0-{}/{size}", PART - 1)),
        range(&format!("bytes 8388608-12582911/{}", size + 1)),
        range("bytes 8388608-12582910/*"),
        range("nonsense"),
        Fault::WithoutHeader("Content-Range"),
        Fault::Truncate(1000),
        Fault::Append(b"more".to_vec()),
        Fault::Header("Transfer-Encoding", "gzip".to_owned()),
    ] {
        let fixture = slow_fixture();
        with_parts(&fixture, 0, usize::MAX, fault.clone());
        let got = fixture.pull_with(&client(), 0).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(got == fixture.bytes, "{fault:?}");
        assert_eq!(fixture.ranges().iter().filter(|range| range.is_none()).count(), 1, "{fault:?}");
        assert!(fixture.ranges().len() <= 6, "{fault:?}: {:?}", fixture.ranges());
    }
}

/// If one part fails after others, the rest is read over one connection.
#[test]
fn a_failed_part_ends_the_splitting_and_not_the_blob() {
    for fault in [Fault::IgnoreRange, Fault::Status(416, vec![], String::new()), Fault::WithoutHeader("Content-Range")]
    {
        for skip in 1..3 {
            let fixture = slow_fixture();
            with_parts(&fixture, skip, 1, fault.clone());
            assert!(fixture.pull_with(&client(), 0).unwrap() == fixture.bytes, "{fault:?}");
            let rest = fixture.ranges().into_iter().flatten().filter(|range| range.ends_with('-')).count();
            assert_eq!(rest, 1, "{fault:?}: {:?}", fixture.ranges());
        }
    }
}

#[test]
fn an_interrupted_part_is_retried_alone() {
    for (cut, fault) in
        [(100_000, Fault::CutAfter(100_000)), (0, Fault::Close), (0, Fault::Status(503, vec![], String::new()))]
    {
        let fixture = slow_fixture();
        with_parts(&fixture, 0, 2, fault.clone());
        assert!(fixture.pull_with(&client(), 0).unwrap() == fixture.bytes, "{fault:?}");
        assert_eq!(fixture.ranges().iter().filter(|range| range.is_none()).count(), 1, "{fault:?}");
        let ends: Vec<_> = parts(&fixture).iter().map(|range| range.rsplit_once('-').unwrap().1.to_owned()).collect();
        let repeated = ends.iter().filter(|end| ends.iter().filter(|other| other == end).count() > 1).count();
        assert!(repeated >= 2, "{cut} {fault:?}: {:?}", fixture.ranges());
    }
}

#[test]
fn a_stalled_part_is_requested_again() {
    let fixture = slow_fixture();
    with_parts(&fixture, 1, 1, Fault::StallAfter(50_000, FOREVER));
    let client =
        Client::new(ClientOptions { inactivity_timeout: Duration::from_millis(500), ..splitting_options() }).unwrap();
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
}

/// Some servers never answer on a second connection.
#[test]
fn a_second_connection_without_a_response_is_abandoned() {
    let fixture = slow_fixture();
    with_parts(&fixture, 0, usize::MAX, Fault::Delay(FOREVER));
    assert!(fixture.pull_with(&client(), 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.ranges().len(), 2, "{:?}", fixture.ranges());
}

#[test]
fn cancelling_stops_parts_at_once() {
    let fixture = slow_fixture();
    with_parts(&fixture, 1, usize::MAX, Fault::StallAfter(10, FOREVER));
    let cancel = Cancel::new();
    let client = Client::new(ClientOptions { cancel: cancel.clone(), ..splitting_options() }).unwrap();
    let reader = thread::spawn({
        let (reference, layer) = (fixture.reference(), fixture.layer.clone());
        move || read(client.resuming_blob(&reference, &layer, 0))
    });
    while parts(&fixture).len() < 3 {
        thread::sleep(Duration::from_millis(5));
    }
    cancel.cancel();
    let started = Instant::now();
    let error = reader.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// A reader is dropped when a layer turns out to be invalid. Its threads must end.
#[test]
fn a_dropped_reader_stops_its_parts() {
    let fixture = slow_fixture();
    let client = client();
    let mut reader = client.resuming_blob(&fixture.reference(), &fixture.layer, 0);
    let mut bytes = vec![0; 9 * MIB];
    reader.read_exact(&mut bytes).map_err(inner_error).unwrap();
    assert!(bytes == fixture.bytes[..9 * MIB]);
    drop(reader);
    thread::sleep(Duration::from_millis(500));
    let asked = fixture.ranges().len();
    // All connections and all memory are free again.
    for _ in 0..2 {
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    }
    assert!(parts(&fixture).len() > 6 && fixture.ranges().len() > asked + 6, "{:?}", fixture.ranges());
}

#[test]
fn several_blobs_share_the_connections() {
    let fixture = slow_fixture();
    let client = client();
    let others: Vec<_> = (1..5)
        .map(|number| {
            let bytes = pattern(20 * MIB + number);
            let digest = fixture.registry.put_blob(bytes.clone());
            (Descriptor::new(MediaType::OCI_LAYER, digest, bytes.len() as u64), bytes)
        })
        .collect();
    thread::scope(|scope| {
        for (layer, bytes) in &others {
            let (client, fixture) = (&client, &fixture);
            scope.spawn(move || {
                assert!(read(client.resuming_blob(&fixture.reference(), layer, 0)).unwrap() == *bytes);
            });
        }
    });
    // The server may still write to a connection that the client has closed.
    assert!(fixture.registry.max_concurrent_requests() <= 8, "{}", fixture.registry.max_concurrent_requests());
}

#[test]
fn random_faults_change_no_byte() {
    // A fixed pseudo-random sequence.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..8 {
        let fixture = slow_fixture();
        fixture.registry.require(Auth::basic("ann", "secret"));
        for _ in 0..next(6) {
            let fault = [
                Fault::CutAfter(next(PART)),
                Fault::Close,
                Fault::IgnoreRange,
                Fault::Chunked,
                Fault::NoContentLength,
                Fault::Status(429, vec![("Retry-After", "0".to_owned())], String::new()),
                Fault::Status(500, vec![], String::new()),
            ][next(7) as usize]
                .clone();
            with_parts(&fixture, next(6) as usize, 1, fault);
        }
        let credentials = std::sync::Arc::new(vmroot_registry::FixedCredential(password("ann", "secret")));
        let client = Client::new(ClientOptions { credentials, ..splitting_options() }).unwrap();
        let offset = next(1 << 20);
        assert!(
            fixture.pull_with(&client, offset).unwrap() == fixture.bytes[offset as usize..],
            "round {round}: {:?}",
            fixture.ranges()
        );
    }
}
