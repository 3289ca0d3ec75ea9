//! `layer index|verify|dump`.

use std::fs;

use vmroot_model::Digest;
use vmroot_testkit::image::Compression;
use vmroot_testkit::layer::Encoding;

use crate::program::Program;
use crate::samples::base;

#[test]
fn index_is_the_same_for_every_compression() {
    let program = Program::new();
    let tar = base().to_tar(&Encoding::default());
    let diff_id = Digest::of(&tar);
    let mut first = None;
    for compression in Compression::ALL {
        let name = format!("{compression:?}");
        let file = program.file("layer", compression.compress(&tar));
        let out = program.path(&name);
        let printed =
            program.ok(["layer".as_ref(), "index".as_ref(), file.as_os_str(), "-o".as_ref(), out.as_os_str()]);
        assert_eq!(printed, format!("{diff_id}\n"), "{name}");
        let read = |extension: &str| fs::read(out.join(format!("{}.{extension}", diff_id.hex()))).unwrap();
        let files = (read("idx"), read("contents"));
        assert!(*first.get_or_insert_with(|| files.clone()) == files, "{name}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "{name}");
    }
    let answer = program.run_with_input(["layer", "index", "-", "-o", program.path("stdin").to_str().unwrap()], &tar);
    assert_eq!(answer.ok(), format!("{diff_id}\n"));
    assert!(!program.cache().exists(), "a layer needs no cache");
}

#[test]
fn verify_names_damaged_files() {
    let program = Program::new();
    let tar = program.file("layer.tar", base().to_tar(&Encoding::default()));
    let out = program.path("out");
    let diff_id = program.ok(["layer".as_ref(), "index".as_ref(), tar.as_os_str(), "-o".as_ref(), out.as_os_str()]);
    let hex = diff_id.trim().strip_prefix("sha256:").unwrap();
    let path = |extension: &str| out.join(format!("{hex}.{extension}"));
    let layer = |verb: &str| program.run(["layer".as_ref(), verb.as_ref(), path("idx").as_os_str()]);
    assert!(layer("verify").ok().contains("verified"));
    let dump = layer("dump").ok();
    for part in ["usr/bin/tool", "etc/passwd", "user.origin=base"] {
        assert!(dump.contains(part), "{dump}");
    }

    for extension in ["contents", "idx"] {
        let whole = fs::read(path(extension)).unwrap();
        let replace = |bytes: &[u8]| {
            fs::remove_file(path(extension)).unwrap();
            fs::write(path(extension), bytes).unwrap();
        };
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&flipped[..], &whole[..whole.len() - 1], &[]] {
            replace(damaged);
            let message = layer("verify").fails(5);
            assert!(message.contains(path(extension).to_str().unwrap()), "{message}");
        }
        replace(&whole);
        layer("verify").ok();
    }
    fs::remove_file(path("contents")).unwrap();
    layer("verify").fails(3);
    program.fails(3, ["layer", "dump", "/no/such.idx"]);
}

#[test]
fn malformed_tar_is_5_and_leaves_no_files() {
    let program = Program::new();
    let tar = base().to_tar(&Encoding::default());
    let out = program.path("out");
    let cases: [(&[u8], &str); 3] = [
        (&tar[..700], "byte"),
        (&Compression::Gzip.compress(&tar)[..200], "truncated gzip"),
        (&[1; 1024], "not a tar"),
    ];
    for (bytes, part) in cases {
        let file = program.file("wrong.tar", bytes);
        let message =
            program.fails(5, ["layer".as_ref(), "index".as_ref(), file.as_os_str(), "-o".as_ref(), out.as_os_str()]);
        assert!(message.contains(part), "{message}");
        assert!(!out.exists(), "{part}");
    }
}
