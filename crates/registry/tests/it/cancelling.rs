//! Cancellation by the caller.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use vmroot_output::{Cancel, Cancelled};
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{FOREVER, Fixture, inner_error, options};

/// Options with retries and timeouts that never run out.
fn endless_options(cancel: &Cancel) -> ClientOptions {
    ClientOptions {
        retries: u32::MAX,
        backoff: FOREVER,
        backoff_limit: FOREVER,
        retry_after_limit: FOREVER,
        inactivity_timeout: FOREVER,
        cancel: cancel.clone(),
        ..options()
    }
}

/// Runs `work` until the registry has received a request with `part` in its path, and then cancels. Returns the error
/// of `work`.
fn cancel_during<T: Send>(
    fixture: &Fixture,
    part: &str,
    work: impl FnOnce(&Client) -> Result<T, Error> + Send,
) -> Error {
    let cancel = Cancel::new();
    let client = Client::new(endless_options(&cancel)).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(work(&client).map(drop)));
        while fixture.registry.count(part) == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        // By now, the client probably waits. If it does not yet, cancelling must work too.
        thread::sleep(Duration::from_millis(30));
        cancel.cancel();
        receiver.recv_timeout(Duration::from_secs(60)).expect("cancelling must not take a minute").unwrap_err()
    })
}

#[test]
fn cancelled_before_the_first_request() {
    let cancel = Cancel::new();
    cancel.cancel();
    let fixture = Fixture::new();
    let client = Client::new(endless_options(&cancel)).unwrap();
    assert!(matches!(client.manifest(&fixture.reference()), Err(Error::Cancelled)));
    assert_eq!(fixture.registry.count(""), 0);
}

#[test]
fn cancelled_while_waiting_for_a_response() {
    for part in ["/v2/", "/manifests/"] {
        let fixture = Fixture::new();
        fixture.registry.misbehave(Rule::on(part).fault(Fault::StallAfter(0, FOREVER)));
        let delay = Fixture::new();
        delay.registry.misbehave(Rule::on(part).fault(Fault::Delay(FOREVER)));
        for fixture in [fixture, delay] {
            let error = cancel_during(&fixture, part, |client| client.manifest(&fixture.reference()));
            assert!(matches!(error, Error::Cancelled), "{part}: {error:?}");
        }
    }
}

#[test]
fn cancelled_in_the_middle_of_a_blob_keeps_the_bytes_read() {
    let fixture = Fixture::new().blobs(1, Fault::StallAfter(5_000, FOREVER));
    let mut bytes = Vec::new();
    let error = cancel_during(&fixture, "/blobs/", |client| {
        let mut reader = client.resuming_blob(&fixture.reference(), &fixture.layer, 0);
        reader.read_to_end(&mut bytes).map_err(inner_error)
    });
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert!(bytes == fixture.bytes[..5_000]);
}

#[test]
fn cancelled_during_a_pause() {
    for fault in [
        Fault::Status(503, vec![], String::new()),
        Fault::Status(429, vec![("Retry-After", "3000".to_owned())], String::new()),
        Fault::Close,
    ] {
        let fixture = Fixture::new().manifests(1, fault.clone());
        let error = cancel_during(&fixture, "/manifests/", |client| client.manifest(&fixture.reference()));
        assert!(matches!(error, Error::Cancelled), "{fault:?}: {error:?}");
    }
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(10));
    let error = cancel_during(&fixture, "/blobs/", |client| fixture.pull_with(client, 0));
    assert!(matches!(error, Error::Cancelled), "{error:?}");
}

#[test]
fn cancelled_by_an_external_flag() {
    let flag = Arc::new(AtomicBool::new(false));
    let cancel = Cancel::from(Arc::clone(&flag));
    assert!(cancel.check().is_ok());
    flag.store(true, Ordering::SeqCst);
    assert!(matches!(cancel.sleep(FOREVER), Err(Cancelled)));
}
