//! Random streams, intact and damaged, with random parts and limits. Streams of other programs.

use std::process::{Command, Stdio};
use std::thread;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// The encoder of a stream.
#[derive(Clone, Debug)]
enum Encoder {
    Zlib(u32),
    Libdeflate(i32),
    Flushed(usize),
    /// Members of this many bytes, with empty members in between.
    Members(usize),
    /// A gzip stream in stored blocks.
    Twice,
}

#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Flip(Index, u8),
    Noise(Index, u64),
    Missing(Index, usize),
    Extra(Vec<u8>),
    /// Bytes from one position, inserted at another.
    Moved(Index, Index),
}

fn encoders() -> impl Strategy<Value = Encoder> {
    prop_oneof![
        4 => (0..=9u32).prop_map(Encoder::Zlib),
        2 => (1..=12).prop_map(Encoder::Libdeflate),
        2 => (1..20_000usize).prop_map(Encoder::Flushed),
        2 => (1_000..100_000usize).prop_map(Encoder::Members),
        1 => Just(Encoder::Twice),
    ]
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), any::<u64>()).prop_map(|(at, seed)| Damage::Noise(at, seed)),
        (any::<Index>(), 1..5_000usize).prop_map(|(at, n)| Damage::Missing(at, n)),
        prop_oneof![Just(vec![0; 3_000]), proptest::collection::vec(any::<u8>(), 1..20)].prop_map(Damage::Extra),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Moved(from, to)),
    ]
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let parts = (100..40_000usize, 1..8usize, 1..40usize);
    (parts, 2_000..400_000usize, 300..20_000usize, any::<bool>()).prop_map(
        |((unit, units, overlap), piece, step, wait)| Sizes { start: 100, unit, units, overlap, piece, step, wait },
    )
}

fn limits(output: usize) -> impl Strategy<Value = Limits> {
    let around = 0..=output as u64 + 1;
    let limit = prop_oneof![3 => Just(u64::MAX >> 1), 1 => around];
    (limit.clone(), limit, prop_oneof![Just(1u64), Just(3), Just(400)])
        .prop_map(|(max_output, max_data, max_ratio)| Limits { max_output, max_data, max_ratio, ..Limits::default() })
}

fn encode(data: &[u8], encoder: &Encoder) -> Vec<u8> {
    match encoder {
        Encoder::Zlib(level) => gzip(data, *level),
        Encoder::Libdeflate(level) => libdeflate(data, *level),
        Encoder::Flushed(every) => gzip_flushed(data, *every),
        Encoder::Members(size) => data.chunks(*size).flat_map(|part| [gzip(part, 6), gzip(b"", 6)].concat()).collect(),
        Encoder::Twice => gzip(&gzip(data, 6), 0),
    }
}

fn damage(stream: &mut Vec<u8>, damage: &Damage) {
    let len = stream.len();
    match damage {
        Damage::Cut(at) => stream.truncate(at.index(len)),
        Damage::Flip(at, bit) => stream[at.index(len)] ^= 1 << bit,
        Damage::Noise(at, seed) => {
            let mut random = Random(seed | 1);
            stream[at.index(len)..].iter_mut().take(200).for_each(|byte| *byte = random.next() as u8);
        }
        Damage::Missing(at, n) => drop(stream.drain(at.index(len)..(at.index(len) + n).min(len))),
        Damage::Extra(bytes) => stream.extend(bytes),
        Damage::Moved(from, to) => {
            let moved = stream[from.index(len)..].iter().copied().take(10_000).collect::<Vec<_>>();
            stream.splice(to.index(len)..to.index(len), moved);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn random_streams_agree(
        seed in any::<u64>(),
        len in 1..400_000usize,
        encoder in encoders(),
        damaged in proptest::option::of(damages()),
        limits in limits(400_000),
        sizes in sizes(),
    ) {
        let mut stream = encode(&data(len, seed), &encoder);
        if let Some(how) = &damaged {
            damage(&mut stream, how);
        }
        assert_agree_with(&stream, &limits, sizes);
    }
}

/// Runs another program with `input`. Returns its output.
fn output_of(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        output.stdout
    })
}

/// gzip writes blocks as long as those of layers. pigz writes independent (`-i`) and dependent blocks, flushes after
/// each piece, and has a different kind of blocks at level 11.
#[test]
fn streams_of_other_programs() {
    let data = data(1_500_000, 20);
    for (program, arguments) in [
        ("gzip", &["-1"][..]),
        ("gzip", &["-6"]),
        ("gzip", &["-9"]),
        ("gzip", &["--rsyncable"]),
        ("pigz", &["-0"]),
        ("pigz", &["-1", "-p", "2"]),
        ("pigz", &["-6", "-p", "2", "-b", "32"]),
        ("pigz", &["-9", "-p", "2", "-i", "-b", "64"]),
        ("pigz", &["-6", "-H"]),
        ("pigz", &["-6", "-U"]),
    ] {
        let stream = output_of(program, arguments, &data);
        let taken = assert_decodes(&stream, &data);
        assert!(taken > 3, "{program} {arguments:?}: {taken}");
    }
    assert_decodes(&output_of("pigz", &["-11", "-I", "1"], &data[..200_000]), &data[..200_000]);
}
