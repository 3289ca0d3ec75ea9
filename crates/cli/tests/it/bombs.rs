//! Layers that cost more than they look: each meets a limit, whose error names it and the option that raises it.

use std::io::Write;

use flate2::write::GzEncoder;
use serde_json::json;
use vmroot_model::{Algorithm, Digest, Hasher};
use vmroot_testkit::image::{Compression, ImageBuilder, LayerBlob};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::tar_builder::{Header, Magic, typeflag};

use crate::program::Program;
use crate::samples::{REPOSITORY, serve};

/// What the bombs decode to, in bytes: more than the part that any ratio is allowed for.
const DECODED: u64 = 300 << 20;
/// What a member of a bomb decodes to.
const PIECE: usize = 1 << 20;

/// A layer with one huge file of zeros. Both formats allow any number of members, so one is made and repeated.
fn bomb(compression: Compression) -> LayerBlob {
    let header = Header::new(Magic::Ustar, typeflag::FILE).name(b"bomb").mode(0o644).size(DECODED).to_block();
    let end = [0; 1024];
    let piece = vec![0; PIECE];
    let count = (DECODED / PIECE as u64) as usize;
    let mut tar = Hasher::new(Algorithm::Sha256);
    tar.update(&header);
    (0..count).for_each(|_| tar.update(&piece));
    tar.update(&end);
    let compressed = dense(compression, &piece);
    let bytes = [compression.compress(&header), compressed.repeat(count), compression.compress(&end)].concat();
    let media_type = match compression {
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar+gzip",
    };
    LayerBlob {
        diff_id: tar.finish(),
        tar: Vec::new(),
        media_type: media_type.into(),
        digest: Digest::of(&bytes),
        bytes,
    }
}

/// The smallest form there is.
fn dense(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    if compression != Compression::Gzip {
        return compression.compress(bytes);
    }
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bombs_meet_a_limit_that_can_be_raised() {
    let registry = Registry::start();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bomb = bomb(compression);
        let layers = json!([{
            "mediaType": bomb.media_type,
            "digest": bomb.digest.to_string(),
            "size": bomb.bytes.len(),
        }]);
        let rootfs = json!({ "type": "layers", "diff_ids": [bomb.diff_id.to_string()] });
        let image = ImageBuilder::new().config_member("rootfs", rootfs).manifest_member("layers", layers).build();
        registry.put_blob_as(&bomb.digest, bomb.bytes.clone());
        let reference = serve(&registry, &image, "bomb");
        let program = Program::new();
        let pull = |more: &[&str]| program.run(["pull", &reference, "--arch=amd64"].iter().chain(more));
        let message = pull(&[]).fails(6);
        for part in ["400 times", &bomb.digest.to_string(), "--max-ratio raises the limit"] {
            assert!(message.contains(part), "{compression:?}: {message}");
        }
        let message = pull(&["--max-layer-size=200M"]).fails(6);
        for part in ["209715200 bytes", &bomb.digest.to_string(), "--max-layer-size raises the limit"] {
            assert!(message.contains(part), "{compression:?}: {message}");
        }
        assert_eq!(program.json(["df", "--json"])["layers"]["files"], 0, "nothing of it is kept");
        pull(&["--max-ratio=100000"]).ok();
        assert_eq!(program.json(["stat", "--json", &reference, "bomb"])["size"], DECODED);
        let taken = program.json(["df", "--json"])["layers"]["diskBytes"].as_u64().unwrap();
        assert!(taken < 1 << 20, "zeros take no space: {taken}");
        registry.put_manifest(REPOSITORY, Some("bomb"), "text/plain", b"");
    }
}

#[test]
fn each_limit_has_an_option() {
    let registry = Registry::start();
    let entries = (0..20).map(|number| Entry::file(format!("file-{number}"), vec![7; 1000]));
    let layer = Layer::new(entries.chain([Entry::file("large-attributes", "").xattr("user.large", vec![1; 10_000])]));
    let zstd = ImageBuilder::new().compression(Compression::Zstd).layer(&layer);
    let reference = serve(&registry, &zstd.build(), "v1");
    let program = Program::new();
    for (option, parts) in [
        ("--max-entries=5", ["5 ", "file-"]),
        ("--max-contents=5000", ["5000 ", "file-"]),
        ("--max-metadata=4K", ["4096 ", "extended headers"]),
        ("--max-names=100", ["100 ", "file-"]),
        ("--max-layer-size=10000", ["10000 bytes", "sha256:"]),
    ] {
        let message = program.fails(6, ["pull", &reference, "--arch=amd64", option]);
        let name = option.split('=').next().unwrap();
        for part in parts.iter().chain(&[format!("{name} raises the limit").as_str()]) {
            assert!(message.contains(part), "{option}, {part:?}: {message}");
        }
    }
    program.ok(["pull", &reference, "--arch=amd64"]);
}

/// A zstd frame may ask for a window of any size.
#[test]
fn a_decoder_gets_only_so_much_memory() {
    let registry = Registry::start();
    let layer = Layer::new([Entry::file("file", vmroot_testkit::sample::noise(1, 3 << 20))]);
    let image = ImageBuilder::new().compression(Compression::Zstd).layer(&layer).build();
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    let message = program.fails(6, ["pull", &reference, "--arch=amd64", "--zstd-window-log=12"]);
    assert!(message.contains("--zstd-window-log raises the limit"), "{message}");
    program.ok(["pull", &reference, "--arch=amd64"]);
}

/// Archives are decoded before they are read.
#[test]
fn archives_have_limits_as_well() {
    let program = Program::new();
    let piece = dense(Compression::Gzip, &vec![0; PIECE]);
    let archive = program.file("bomb.tar.gz", piece.repeat((DECODED / PIECE as u64) as usize));
    let load = |more: &[&str]| program.run(["load", archive.to_str().unwrap()].iter().chain(more));
    let message = load(&[]).fails(6);
    assert!(message.contains("bomb.tar.gz") && message.contains("--max-ratio raises the limit"), "{message}");
    let message = load(&["--max-layer-size=50M"]).fails(6);
    assert!(message.contains("--max-layer-size raises the limit"), "{message}");
    assert_eq!(program.json(["df", "--json"])["unfinished"]["files"], 0);
}
