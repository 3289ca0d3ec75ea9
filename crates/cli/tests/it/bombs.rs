//! Decompression bombs and similar layers: each exceeds a limit, and the error names the option that raises it.

use std::io::Write;

use flate2::write::GzEncoder;
use serde_json::json;
use vmroot_model::{Algorithm, Digest, Hasher};
use vmroot_testkit::image::{Compression, ImageBuilder, LayerBlob};
use vmroot_testkit::layer::{Encoding, Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::tar_builder::{Header, Magic, SparseForm, TarBuilder, typeflag};

use crate::program::Program;
use crate::samples::{REPOSITORY, serve};

/// The decompressed size of a bomb in bytes. It is above the size that every ratio allows.
const DECODED: u64 = 300 << 20;
/// The decompressed size of a member of a bomb, in bytes.
const PIECE: usize = 1 << 20;

/// Builds a layer with one huge file that repeats one mebibyte. Both formats allow any number of members, so one member
/// is compressed and repeated_layer.
fn repeated_layer(compression: Compression, piece: &[u8], count: usize) -> LayerBlob {
    let size = (piece.len() * count) as u64;
    let header = Header::new(Magic::Ustar, typeflag::FILE).name(b"big").mode(0o644).size(size).to_block();
    let end = [0; 1024];
    let mut tar = Hasher::new(Algorithm::Sha256);
    tar.update(&header);
    (0..count).for_each(|_| tar.update(piece));
    tar.update(&end);
    let compressed = compress_best(compression, piece);
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

/// Compresses bytes at the highest level.
fn compress_best(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    if compression != Compression::Gzip {
        return compression.compress(bytes);
    }
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Serves an image with this layer, and returns its reference.
fn serve_layer(registry: &Registry, layer: &LayerBlob) -> String {
    let layers = json!([{
        "mediaType": layer.media_type,
        "digest": layer.digest.to_string(),
        "size": layer.bytes.len(),
    }]);
    let rootfs = json!({ "type": "layers", "diff_ids": [layer.diff_id.to_string()] });
    let image = ImageBuilder::new().config_member("rootfs", rootfs).manifest_member("layers", layers).build();
    registry.put_blob_as(&layer.digest, layer.bytes.clone());
    serve(registry, &image, "big")
}

/// Returns a mebibyte that compresses as well as zeros, but has to be stored.
fn pattern() -> Vec<u8> {
    b"bomb".repeat(PIECE / 4)
}

/// Returns the disk usage of the layers in a cache, in bytes.
fn layer_disk_bytes(program: &Program) -> u64 {
    program.json(["df", "--json"])["layers"]["diskBytes"].as_u64().unwrap()
}

/// `truncate -s 5G big`, or the `lastlog` of a user with a high id: a harmless layer may consist mostly of zeros.
#[test]
fn layer_of_zeros_takes_no_space() {
    let registry = Registry::start();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let reference = serve_layer(&registry, &repeated_layer(compression, &vec![0; PIECE], 5 << 10));
        let program = Program::new();
        program.ok(["pull", &reference, "--arch=amd64"]);
        assert_eq!(program.json(["stat", "--json", &reference, "big"])["size"], 5_u64 << 30, "{compression:?}");
        assert!(layer_disk_bytes(&program) < 1 << 20, "{} bytes for zeros", layer_disk_bytes(&program));
        registry.put_manifest(REPOSITORY, Some("big"), "text/plain", b"");
    }
}

/// The same as a sparse entry of a tar, for the highest user id: 292 bytes for each id.
#[test]
fn holes_of_sparse_files_count_for_the_layer_size() {
    let size = 292 * (1 << 30);
    let layer = Layer::new([Entry::sparse_file("lastlog", size, vec![(size - 292, vec![7; 292])])]);
    let program = Program::new();
    for form in [SparseForm::OldGnu, SparseForm::Pax10] {
        let tar = program.file("sparse.tar", layer.to_tar(&Encoding { sparse: form, ..Encoding::default() }));
        let out = program.path("out").display().to_string();
        let arguments = ["layer", "index", tar.to_str().unwrap(), "--output", &out];
        let message = program.run(arguments.iter().chain(&["--max-layer-size=1G"])).fails(6);
        assert!(message.contains("lastlog") && message.contains("--max-layer-size raises the limit"), "{message}");
    }
}

#[test]
fn bombs_exceed_limits_that_can_be_raised() {
    let registry = Registry::start();
    let count = (DECODED / PIECE as u64) as usize;
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bomb = repeated_layer(compression, &pattern(), count);
        let reference = serve_layer(&registry, &bomb);
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
        assert_eq!(program.json(["df", "--json"])["layers"]["files"], 0, "no file of the layer is kept");
        let message = pull(&["--max-ratio=100000", "--max-data=200M"]).fails(6);
        assert!(message.contains("209715200 bytes") && message.contains("--max-data raises the limit"), "{message}");
        assert_eq!(program.json(["df", "--json"])["layers"]["files"], 0, "no file of the layer is kept");
        let message = pull(&["--max-ratio=100000", "--max-contents=200M"]).fails(6);
        assert!(message.contains("entry \"big\"") && message.contains("--max-contents raises the limit"), "{message}");
        pull(&["--max-ratio=100000"]).ok();
        assert_eq!(program.json(["stat", "--json", &reference, "big"])["size"], DECODED);
        assert!(layer_disk_bytes(&program) >= DECODED);
        registry.put_manifest(REPOSITORY, Some("big"), "text/plain", b"");
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

/// A zstd frame may request a window of any size.
#[test]
fn memory_of_the_zstd_decoder_is_limited() {
    let registry = Registry::start();
    let layer = Layer::new([Entry::file("file", vmroot_testkit::sample::noise(1, 3 << 20))]);
    let image = ImageBuilder::new().compression(Compression::Zstd).layer(&layer).build();
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    let message = program.fails(6, ["pull", &reference, "--arch=amd64", "--zstd-window-log=12"]);
    assert!(message.contains("--zstd-window-log raises the limit"), "{message}");
    program.ok(["pull", &reference, "--arch=amd64"]);
}

/// Archives are decompressed before they are read.
#[test]
fn limits_apply_to_archives() {
    let program = Program::new();
    let piece = compress_best(Compression::Gzip, &pattern());
    let archive = program.file("bomb.tar.gz", piece.repeat((DECODED / PIECE as u64) as usize));
    let load = |more: &[&str]| program.run(["load", archive.to_str().unwrap()].iter().chain(more));
    let message = load(&[]).fails(6);
    assert!(message.contains("bomb.tar.gz") && message.contains("--max-ratio raises the limit"), "{message}");
    let message = load(&["--max-data=50M"]).fails(6);
    assert!(message.contains("--max-data raises the limit"), "{message}");
    let message = load(&["--max-layer-size=50M"]).fails(6);
    assert!(message.contains("--max-layer-size raises the limit"), "{message}");
    assert_eq!(program.json(["df", "--json"])["unfinished"]["files"], 0);
}

/// `docker save | gzip` of an image with gigabytes of zeros. The decompressed archive, its layer (a plain tar) and the
/// layer's contents take no space.
#[test]
fn archive_of_zeros_takes_no_space() {
    let layer = repeated_layer(Compression::Gzip, &vec![0; PIECE], 1 << 10);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id.to_string()] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["zeros:1"], "Layers": ["layer.tar"] }]);
    let member =
        |name: &str, size: u64| Header::new(Magic::Ustar, typeflag::FILE).name(name.as_bytes()).size(size).to_block();
    let mut front = TarBuilder::new();
    for (name, document) in [("config.json", config), ("manifest.json", manifest)] {
        let bytes = document.to_string().into_bytes();
        front.raw(&member(name, bytes.len() as u64)).data(&bytes);
    }
    // The end of the layer's tar, and the end of the archive.
    front.raw(&member("layer.tar", (1 << 30) + 512 + 1024));
    let archive =
        [compress_best(Compression::Gzip, front.as_bytes()), layer.bytes, compress_best(Compression::Gzip, &[0; 1024])]
            .concat();
    let program = Program::new();
    let archive = program.file("zeros.tar.gz", archive);
    program.ok(["load", archive.to_str().unwrap()]);
    assert_eq!(program.json(["stat", "--json", "zeros:1", "big"])["size"], 1_u64 << 30);
    assert!(layer_disk_bytes(&program) < 1 << 20, "{} bytes for zeros", layer_disk_bytes(&program));
    let blobs = program.json(["df", "--json"])["blobs"]["diskBytes"].as_u64().unwrap();
    assert!(blobs < 1 << 20, "{blobs} bytes for a blob of zeros");
}
