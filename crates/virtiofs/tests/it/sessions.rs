//! From the first VMM to the last request.

use std::thread;
use std::time::Duration;

use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vmroot_testkit::layer::Entry;
use vmroot_virtiofs::{Error, VirtioFs, VirtioFsOptions};

use crate::fixture::Fixture;
use crate::front_end::Guest;
use crate::message::{GETATTR, answer, request};
use crate::tree::ROOT;

fn fixture() -> Fixture {
    Fixture::new([Entry::file("file", "content")])
}

fn is_answered(guest: &mut Guest) -> bool {
    answer(&guest.ask(&request(GETATTR, ROOT, &[0; 16]), 120)).is_ok()
}

#[test]
fn the_device_ends_with_its_vmm() {
    let fixture = fixture();
    for _ in 0..3 {
        let serving = fixture.serve(&VirtioFsOptions::default());
        assert!(is_answered(&mut Guest::connect(&serving.socket)));
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
    assert!(is_answered(&mut guest));
    serving.stopper.stop();
    serving.end().unwrap();
}

#[test]
fn a_stopper_may_come_first() {
    let fixture = fixture();
    let socket = fixture.directory().join("socket");
    let device = VirtioFs::bind(fixture.root(), &socket, &VirtioFsOptions::default()).unwrap();
    device.stopper().stop();
    device.serve().unwrap();
}

#[test]
fn a_vmm_may_ask_for_fewer_queues_than_there_are() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions { queues: 7, threads: 0 });
    let mut guest = Guest::connect(&serving.socket);
    assert_eq!(guest.front_end.get_queue_num().unwrap(), 8);
    assert!(is_answered(&mut guest));
    drop(guest);
    serving.end().unwrap();
}

#[test]
fn each_queue_is_served() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions { queues: 5, threads: 2 });
    let mut guest = Guest::connect_with(&serving.socket, 5);
    for queue in 1..=5 {
        assert!(answer(&guest.ask_at(queue, &request(GETATTR, ROOT, &[0; 16]), 120)).is_ok(), "queue {queue}");
    }
}

#[test]
fn there_is_a_queue_and_no_more_than_a_mask_holds() {
    let fixture = fixture();
    let socket = fixture.directory().join("socket");
    for queues in [0, 64, usize::MAX] {
        let options = VirtioFsOptions { queues, ..VirtioFsOptions::default() };
        let result = VirtioFs::bind(fixture.root(), &socket, &options);
        assert!(matches!(result, Err(Error::Queues(number)) if number == queues));
    }
}

#[test]
fn a_guest_that_starts_again_is_served_again() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions::default());
    let mut guest = Guest::connect(&serving.socket);
    for _ in 0..3 {
        assert!(is_answered(&mut guest));
        guest.restart_queue(1);
    }
    assert!(is_answered(&mut guest));
}

#[test]
fn a_queue_that_was_stopped_is_left_alone() {
    let fixture = fixture();
    let serving = fixture.serve(&VirtioFsOptions::default());
    let mut guest = Guest::connect(&serving.socket);
    assert!(is_answered(&mut guest));
    guest.front_end.get_vring_base(1).unwrap();
    let before = guest.used(1);
    guest.put(1, &[0]);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(guest.used(1), before);
}
