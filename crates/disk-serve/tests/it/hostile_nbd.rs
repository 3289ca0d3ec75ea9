//! Clients that violate NBD: they get errors or are disconnected, and the server keeps serving others.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use vmroot_disk_serve::{MAX_NBD_CLIENTS, MAX_NBD_LENGTH, serve_nbd};

use crate::fixture::{Fixture, Serving, runs};

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const LIST: u32 = 3;
const STARTTLS: u32 = 5;
const INFO: u32 = 6;
const GO: u32 = 7;
const STRUCTURED: u32 = 8;
const LIST_CONTEXTS: u32 = 9;
const SET_CONTEXTS: u32 = 10;
const ACK: u32 = 1;
const UNSUPPORTED: u32 = (1 << 31) + 1;
const INVALID: u32 = (1 << 31) + 3;
const UNKNOWN: u32 = (1 << 31) + 6;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const CACHE: u16 = 5;
const WRITE_ZEROES: u16 = 6;
const BLOCK_STATUS: u16 = 7;
const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const EOVERFLOW: u32 = 75;
const DF: u16 = 4;
const REQ_ONE: u16 = 8;

/// A client.
struct Client(UnixStream);

impl Client {
    /// Connects, and reads the greeting.
    fn connect(serving: &Serving) -> Self {
        let stream = UnixStream::connect(&serving.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self(stream);
        assert_eq!(client.read(18), [b"NBDMAGIC".as_slice(), OPTION_MAGIC, &[0, 3]].concat());
        client
    }

    /// Connects, and exchanges flags.
    fn negotiating(serving: &Serving) -> Self {
        let mut client = Self::connect(serving);
        client.write(&[0, 0, 0, 3]);
        client
    }

    /// Connects and begins the transmission.
    fn transmitting(serving: &Serving, structured: bool) -> Self {
        let mut client = Self::negotiating(serving);
        if structured {
            assert_eq!(client.option(STRUCTURED, &[]), [ACK]);
            assert_eq!(client.option(SET_CONTEXTS, &contexts(b"", &[b"base:allocation"])), [4, ACK]);
        }
        assert_eq!(client.option(GO, &[0; 6]), [3, ACK]);
        client
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.read(4).try_into().unwrap())
    }

    /// Sends an option. Returns the types of its replies.
    fn option(&mut self, number: u32, data: &[u8]) -> Vec<u32> {
        self.write(&option(number, data.len() as u32, data));
        let mut kinds = Vec::new();
        loop {
            assert_eq!(self.read(8), 0x0003_e889_0455_65a9u64.to_be_bytes());
            assert_eq!(self.u32(), number);
            let (kind, length) = (self.u32(), self.u32());
            self.read(length as usize);
            kinds.push(kind);
            if kind == ACK || kind >> 31 == 1 {
                return kinds;
            }
        }
    }

    fn request(&mut self, flags: u16, kind: u16, offset: u64, length: u32) {
        self.write(&request(flags, kind, offset, length));
    }

    /// Reads a simple reply without data. Returns its error.
    fn simple(&mut self) -> u32 {
        assert_eq!(self.u32(), 0x6744_6698);
        let error = self.u32();
        assert_eq!(self.read(8), 7u64.to_be_bytes());
        error
    }

    /// Reads a structured reply. Returns the types and payloads of its chunks.
    fn chunks(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut chunks = Vec::new();
        loop {
            let header = self.read(20);
            assert_eq!(header[..4], 0x668e_33ef_u32.to_be_bytes());
            assert_eq!(header[8..16], 7u64.to_be_bytes());
            let length = u32::from_be_bytes(header[16..].try_into().unwrap());
            chunks.push((u16::from_be_bytes([header[6], header[7]]), self.read(length as usize)));
            if header[5] & 1 == 1 {
                return chunks;
            }
        }
    }

    /// Reads a structured reply with an error, and returns the error.
    fn chunk_error(&mut self) -> u32 {
        let chunks = self.chunks();
        let (kind, payload) = chunks.last().unwrap();
        assert_eq!(kind >> 15, 1, "{chunks:?}");
        u32::from_be_bytes(payload[..4].try_into().unwrap())
    }

    /// Asserts that the server closes the connection.
    #[track_caller]
    fn assert_closed(mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}

fn option(number: u32, length: u32, data: &[u8]) -> Vec<u8> {
    [OPTION_MAGIC, &number.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
}

fn request(flags: u16, kind: u16, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = 0x2560_9513_u32.to_be_bytes().to_vec();
    bytes.extend([flags.to_be_bytes(), kind.to_be_bytes()].concat());
    bytes.extend([7, offset].map(u64::to_be_bytes).concat());
    bytes.extend(length.to_be_bytes());
    bytes
}

fn contexts(export: &[u8], queries: &[&[u8]]) -> Vec<u8> {
    let name = |name: &[u8]| [&(name.len() as u32).to_be_bytes()[..], name].concat();
    let queries_bytes: Vec<u8> = queries.iter().flat_map(|query| name(query)).collect();
    [name(export), (queries.len() as u32).to_be_bytes().to_vec(), queries_bytes].concat()
}

/// Asserts that the server still serves.
#[track_caller]
fn assert_serves(fixture: &Fixture, serving: &Serving) {
    let mut client = Client::transmitting(serving, false);
    client.request(0, READ, 1020, 100);
    assert_eq!(client.simple(), 0);
    assert_eq!(client.read(100), fixture.expected[1020..1120]);
}

#[test]
fn invalid_handshakes() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    for flags in [4u32, 0x8000_0000, u32::MAX] {
        let mut client = Client::connect(&serving);
        client.write(&flags.to_be_bytes());
        client.assert_closed();
    }
    for bytes in [
        vec![0; 16],
        option(EXPORT_NAME, 5, b"other"),
        option(LIST, (1 << 20) + 1, &[]),
        option(GO, u32::MAX, &[]),
        option(12345, u32::MAX, &[0; 1000]),
    ] {
        let mut client = Client::negotiating(&serving);
        client.write(&bytes);
        client.assert_closed();
    }
    // A client may disconnect anywhere.
    let all = [&[0, 0, 0, 3][..], &option(GO, 6, &[0; 6]), &request(0, READ, 0, 1 << 20)].concat();
    for length in 0..=all.len() {
        Client::connect(&serving).write(&all[..length]);
    }
    assert_serves(&fixture, &serving);
    serving.end();
}

#[test]
fn invalid_options_are_answered() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let mut client = Client::negotiating(&serving);
    for (number, data, expected) in [
        (4, vec![], vec![UNSUPPORTED]),
        (STARTTLS, vec![], vec![UNSUPPORTED]),
        (11, vec![], vec![UNSUPPORTED]),
        (0, vec![1; 100_000], vec![UNSUPPORTED]),
        (u32::MAX, vec![1; 3], vec![UNSUPPORTED]),
        (LIST, vec![0], vec![INVALID]),
        (STRUCTURED, vec![0], vec![INVALID]),
        (INFO, vec![], vec![INVALID]),
        (INFO, vec![0; 5], vec![INVALID]),
        (INFO, vec![0; 7], vec![INVALID]),
        (INFO, vec![0xff; 6], vec![INVALID]),
        (INFO, vec![0, 0, 0, 1, b'x', 0, 0], vec![UNKNOWN]),
        (GO, vec![0, 0, 0, 1, b'x', 0, 0], vec![UNKNOWN]),
        // Contexts need structured replies.
        (LIST_CONTEXTS, contexts(b"", &[]), vec![INVALID]),
        (SET_CONTEXTS, contexts(b"", &[b"base:allocation"]), vec![INVALID]),
        (STRUCTURED, vec![], vec![ACK]),
        (LIST_CONTEXTS, contexts(b"", &[]), vec![4, ACK]),
        (LIST_CONTEXTS, contexts(b"", &[b"base:"]), vec![4, ACK]),
        (LIST_CONTEXTS, contexts(b"x", &[]), vec![UNKNOWN]),
        (SET_CONTEXTS, contexts(b"", &[b"base:", b"qemu:dirty"]), vec![ACK]),
        (SET_CONTEXTS, [contexts(b"", &[]), vec![0]].concat(), vec![INVALID]),
        (SET_CONTEXTS, [0u32, u32::MAX].map(u32::to_be_bytes).concat(), vec![INVALID]),
        (LIST, vec![], vec![2, ACK]),
        (INFO, vec![0, 0, 0, 0, 0, 3, 0, 1, 0, 2, 0, 3], vec![3, 3, 3, 3, ACK]),
        (ABORT, vec![], vec![ACK]),
    ] {
        assert_eq!(client.option(number, &data), expected, "{number} {data:?}");
    }
    client.assert_closed();
    serving.end();
}

#[test]
fn old_clients_get_the_export_by_its_name() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    for (flags, zeros) in [(1u32, 124), (3, 0)] {
        let mut client = Client::connect(&serving);
        client.write(&flags.to_be_bytes());
        client.write(&option(EXPORT_NAME, 4, b"root"));
        assert_eq!(client.read(8), (fixture.expected.len() as u64).to_be_bytes());
        client.read(2 + zeros);
        client.request(0, READ, 0, 0);
        assert_eq!(client.simple(), 0);
        client.request(0, DISCONNECT, 0, 0);
        client.assert_closed();
    }
    serving.end();
}

/// Returns requests with the errors that they must get.
fn failing(length: u64) -> Vec<(u16, u16, u64, u32, u32)> {
    let end = length - 1;
    vec![
        (0, READ, length, 1, EINVAL),
        (0, READ, end, 2, EINVAL),
        (0, READ, u64::MAX, 1, EINVAL),
        (0, READ, u64::MAX - 10, 100, EINVAL),
        (0, READ, 0, MAX_NBD_LENGTH + 1, EINVAL),
        (0, READ, 0, u32::MAX, EINVAL),
        (1, READ, 0, 1, EINVAL),
        (REQ_ONE, READ, 0, 1, EINVAL),
        (0x8000, READ, 0, 1, EINVAL),
        (0, TRIM, 0, 4096, EPERM),
        (0, WRITE_ZEROES, 0, 4096, EPERM),
        (2, WRITE_ZEROES, u64::MAX, u32::MAX, EPERM),
        (0, CACHE, length, 1, EINVAL),
        (0, FLUSH, 0, 0, EINVAL),
        (0, 8, 0, 0, EINVAL),
        (0, u16::MAX, 0, 0, EINVAL),
        (0, BLOCK_STATUS, length, 1, EINVAL),
        (DF, BLOCK_STATUS, 0, 1, EINVAL),
    ]
}

#[test]
fn requests_with_errors_do_not_end_a_connection() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let (mut simple, mut structured) = (Client::transmitting(&serving, false), Client::transmitting(&serving, true));
    for (flags, kind, offset, length, error) in failing(fixture.expected.len() as u64) {
        simple.request(flags, kind, offset, length);
        assert_eq!(simple.simple(), error, "{flags} {kind} {offset} {length}");
        structured.request(flags, kind, offset, length);
        assert_eq!(structured.chunk_error(), error, "{flags} {kind} {offset} {length}");
    }
    // Flags and requests that need structured replies.
    for (flags, kind) in [(DF, READ), (0, BLOCK_STATUS)] {
        simple.request(flags, kind, 0, 1);
        assert_eq!(simple.simple(), EINVAL);
    }
    structured.request(0, BLOCK_STATUS, 0, 0);
    assert_eq!(structured.chunk_error(), EINVAL);
    structured.request(DF, READ, 0, 1 << 20);
    assert_eq!(structured.chunk_error(), EOVERFLOW);
    // The data of a write is not taken for requests.
    for client in [&mut simple, &mut structured] {
        client.request(0, WRITE, 0, 56);
        client.write(&request(0, DISCONNECT, 0, 0).repeat(2));
    }
    assert_eq!((simple.simple(), structured.chunk_error()), (EPERM, EPERM));
    simple.request(0, READ, 5, 1);
    assert_eq!((simple.simple(), simple.read(1)[0]), (0, fixture.expected[5]));
    serving.end();
}

#[test]
fn violations_end_only_their_connection() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let mut other = Client::transmitting(&serving, false);
    for bytes in [vec![0xff; 28], request(0, WRITE, 0, MAX_NBD_LENGTH + 1)] {
        let mut client = Client::transmitting(&serving, true);
        client.write(&bytes);
        client.assert_closed();
    }
    // A client that dies while replies are sent to it.
    for _ in 0..20 {
        let mut client = Client::transmitting(&serving, false);
        client.request(0, READ, 0, fixture.expected.len() as u32);
        client.read(17);
    }
    other.request(0, READ, 0, 10);
    assert_eq!((other.simple(), other.read(10)), (0, fixture.expected[..10].to_vec()));
    serving.end();
}

#[test]
fn structured_reads_and_block_status_agree() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let mut client = Client::transmitting(&serving, true);
    let length = fixture.expected.len() as u32;
    client.request(0, READ, 0, length);
    let mut found = vec![0xaa; length as usize];
    for (kind, payload) in client.chunks() {
        let offset = u64::from_be_bytes(payload[..8].try_into().unwrap()) as usize;
        match kind {
            1 => found[offset..offset + payload.len() - 8].copy_from_slice(&payload[8..]),
            2 => {
                let count = u32::from_be_bytes(payload[8..].try_into().unwrap()) as usize;
                found[offset..offset + count].fill(0);
            }
            _ => panic!("a chunk of type {kind}"),
        }
    }
    assert!(found == fixture.expected);
    client.request(DF, READ, 100, 65536);
    let chunks = client.chunks();
    assert!(chunks.len() == 1 && chunks[0].1[8..] == fixture.expected[100..65636]);
    client.request(0, READ, 0, 0);
    assert_eq!(client.chunks(), [(0, vec![])]);
    for (flags, least) in [(0, 1), (REQ_ONE, 1)] {
        client.request(flags, BLOCK_STATUS, 0, length);
        let chunks = client.chunks();
        let (kind, payload) = &chunks[0];
        assert_eq!((chunks.len(), *kind, payload[..4].to_vec()), (1, 5, vec![0, 0, 0, 1]));
        let descriptors = payload[4..].as_chunks::<8>().0;
        assert!(descriptors.len() >= least && (flags == 0 || descriptors.len() == 1));
        let total: u32 = descriptors.iter().map(|bytes| u32::from_be_bytes(bytes[..4].try_into().unwrap())).sum();
        assert!(total == length || flags != 0);
    }
    serving.end();
}

#[test]
fn a_hundred_clients_are_served_and_one_dies() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let mut clients: Vec<Client> = (0..100).map(|number| Client::transmitting(&serving, number % 2 == 0)).collect();
    drop(clients.remove(50));
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate().filter(|(number, _)| number % 2 == 1 && *number < 50) {
            let expected = &fixture.expected;
            scope.spawn(move || {
                for offset in (0..expected.len() - 5000).step_by(99_991) {
                    client.request(0, READ, offset as u64, 5000);
                    assert_eq!(client.simple(), 0, "{number}");
                    assert!(client.read(5000) == expected[offset..offset + 5000]);
                }
            });
        }
    });
    serving.end();
}

#[test]
fn the_number_of_clients_is_limited() {
    let fixture = Fixture::new();
    let serving = fixture.serve_nbd();
    let mut clients: Vec<Client> = (0..MAX_NBD_CLIENTS).map(|_| Client::connect(&serving)).collect();
    Client(UnixStream::connect(&serving.socket).unwrap()).assert_closed();
    // Their ends are noticed by their threads.
    clients.truncate(10);
    let start = std::time::Instant::now();
    while UnixStream::connect(&serving.socket).unwrap().read(&mut [0]).unwrap_or(0) == 0 {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    serving.end();
}

/// Any bytes of a client are survived. The fuzz target does the same with better inputs.
#[test]
fn random_conversations() {
    let fixture = Fixture::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let start = [&[0, 0, 0, 3][..], &option(STRUCTURED, 0, &[]), &option(GO, 6, &[0; 6])].concat();
    for _ in 0..runs(2000) {
        let mut bytes = start.clone();
        for _ in 0..random() % 6 {
            let length = if random() % 4 == 0 { random() as u32 } else { random() as u32 % 9000 };
            let offset = if random() % 4 == 0 { random() } else { random() % fixture.expected.len() as u64 };
            bytes.extend(request((random() % 16) as u16, (random() % 10) as u16, offset, length));
        }
        for _ in 0..random() % 3 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        serve_nbd(&fixture.device, &bytes[..], io::sink());
    }
}
