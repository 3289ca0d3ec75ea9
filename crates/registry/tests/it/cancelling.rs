//! The caller says stop.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use vmroot_output::{Cancel, Cancelled};
use vmroot_registry::{Client, ClientOptions, Error};
use vmroot_testkit::registry::{Fault, Rule};

use crate::fixture::{FOREVER, Fixture, inner, options};

/// Options that never lose their patience.
fn patient(cancel: &Cancel) -> ClientOptions {
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

/// Runs `work` until the registry has got a request with `part` in it, and then cancels.
fn cancelled<T: Send>(fixture: &Fixture, part: &str, work: impl FnOnce(&Client) -> Result<T, Error> + Send) -> Error {
    let cancel = Cancel::new();
    let client = Client::new(patient(&cancel)).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(work(&client).map(drop)));
        while fixture.registry.count(part) == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        // Whatever it waits for, it does so by now; if not, it is cancelled all the same.
        thread::sleep(Duration::from_millis(30));
        cancel.cancel();
        receiver.recv_timeout(Duration::from_secs(60)).expect("cancelling takes a moment, not a minute").unwrap_err()
    })
}

#[test]
fn before_anything_begins() {
    let cancel = Cancel::new();
    cancel.cancel();
    let fixture = Fixture::new();
    let client = Client::new(patient(&cancel)).unwrap();
    assert!(matches!(client.manifest(&fixture.reference()), Err(Error::Cancelled)));
    assert_eq!(fixture.registry.count(""), 0);
}

#[test]
fn while_waiting_for_an_answer() {
    for part in ["/v2/", "/manifests/"] {
        let fixture = Fixture::new();
        fixture.registry.misbehave(Rule::on(part).fault(Fault::StallAfter(0, FOREVER)));
        let delay = Fixture::new();
        delay.registry.misbehave(Rule::on(part).fault(Fault::Delay(FOREVER)));
        for fixture in [fixture, delay] {
            let error = cancelled(&fixture, part, |client| client.manifest(&fixture.reference()));
            assert!(matches!(error, Error::Cancelled), "{part}: {error:?}");
        }
    }
}

#[test]
fn in_the_middle_of_a_blob_what_came_is_kept() {
    let fixture = Fixture::new().blobs(1, Fault::StallAfter(5_000, FOREVER));
    let mut bytes = Vec::new();
    let error = cancelled(&fixture, "/blobs/", |client| {
        let mut reader = client.resuming_blob(&fixture.reference(), &fixture.layer, 0);
        reader.read_to_end(&mut bytes).map_err(inner)
    });
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert!(bytes == fixture.bytes[..5_000]);
}

#[test]
fn during_a_pause() {
    for fault in [
        Fault::Status(503, vec![], String::new()),
        Fault::Status(429, vec![("Retry-After", "3000".to_owned())], String::new()),
        Fault::Close,
    ] {
        let fixture = Fixture::new().manifests(1, fault.clone());
        let error = cancelled(&fixture, "/manifests/", |client| client.manifest(&fixture.reference()));
        assert!(matches!(error, Error::Cancelled), "{fault:?}: {error:?}");
    }
    let fixture = Fixture::new().blobs(1, Fault::CutAfter(10));
    let error = cancelled(&fixture, "/blobs/", |client| fixture.pull_with(client, 0));
    assert!(matches!(error, Error::Cancelled), "{error:?}");
}

#[test]
fn by_a_flag_of_somebody_else() {
    let flag = Arc::new(AtomicBool::new(false));
    let cancel = Cancel::from(Arc::clone(&flag));
    assert!(cancel.check().is_ok());
    flag.store(true, Ordering::SeqCst);
    assert!(matches!(cancel.sleep(FOREVER), Err(Cancelled)));
}
