//! Sessions, from the connection of a VMM to the last request.

use std::thread;
use std::time::Duration;

use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vmroot_testkit::layer::Entry;
use vmroot_virtiofs::{Error, VirtioFs, VirtioFsOptions};

use crate::fixture::Fixture;
use crate::front_end::Guest;
use crate::message::{GETATTR, parse_reply, request};
use crate::tree::ROOT;

fn fixture() -> Fixture {
    Fixture::new([Entry::file("file", "content")])
}

fn gets_replies(guest: &mut Guest) -> bool {
    parse_reply(&guest.call(&request(GETATTR, ROOT, &[0; 16]), 120)).is_ok()
}

#[test]
fn the_device_ends_when_the_vmm_disconnects() {
    let fixture = fixture();
    for _ in 0..3 {
        let serving = fixture.serve(&VirtioFsOptions::default());
        assert!(gets_replies(&mut Guest::connect(&serving.socket)));
        serving.end().unwrap();
    }
}

#[test]
fn a_stopper_ends_the_wait_for_a_vmm() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions::default());
    serving.stopper.stop();
    let socket = serving.socket.clone();
    serving.end().unwrap();
    assert!(!socket.exists());
}

#[test]
fn a_stopper_ends_a_connection() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions::default());
    let mut guest = Guest::connect(&serving.socket);
    assert!(gets_replies(&mut guest));
    serving.stopper.stop();
    serving.end().unwrap();
}

#[test]
fn a_stopper_works_before_serve() {
    let fixture = fixture();
    let socket = fixture.directory().join("socket");
    let device = VirtioFs::bind(fixture.root(), &socket, &VirtioFsOptions::default()).unwrap();
    device.stopper().stop();
    device.serve().unwrap();
}

#[test]
fn a_vmm_may_use_fewer_queues() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions { queues: 7, threads: 0 });
    let mut guest = Guest::connect(&serving.socket);
    assert_eq!(guest.front_end.get_queue_num().unwrap(), 8);
    assert!(gets_replies(&mut guest));
    drop(guest);
    serving.end().unwrap();
}

#[test]
fn each_queue_is_served() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions { queues: 5, threads: 2 });
    let mut guest = Guest::connect_with(&serving.socket, 5);
    for queue in 1..=5 {
        assert!(parse_reply(&guest.call_queue(queue, &request(GETATTR, ROOT, &[0; 16]), 120)).is_ok(), "queue {queue}");
    }
}

#[test]
fn the_number_of_queues_is_limited() {
    let fixture = fixture();
    let socket = fixture.directory().join("socket");
    for queues in [0, 64, usize::MAX] {
        let options = VirtioFsOptions { queues, ..VirtioFsOptions::default() };
        let result = VirtioFs::bind(fixture.root(), &socket, &options);
        assert!(matches!(result, Err(Error::Queues(number)) if number == queues));
    }
}

#[test]
fn a_restarted_guest_is_served() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions::default());
    let mut guest = Guest::connect(&serving.socket);
    for _ in 0..3 {
        assert!(gets_replies(&mut guest));
        guest.restart_queue(1);
    }
    assert!(gets_replies(&mut guest));
}

#[test]
fn a_stopped_queue_is_not_touched() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions::default());
    let mut guest = Guest::connect(&serving.socket);
    assert!(gets_replies(&mut guest));
    guest.front_end.get_vring_base(1).unwrap();
    let before = guest.used_count(1);
    guest.make_available(1, &[0]);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(guest.used_count(1), before);
}
