//! Unusual layers that some tools write.

use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::{Image, ImageBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::tar_builder::{Field, Header, Magic, TarBuilder, typeflag};

use crate::program::Program;

/// Loads an image as `docker save` writes it, and returns its id.
fn load(program: &Program, image: &Image) -> String {
    let archive = program.file("image.tar", docker_archive::write(&[(image, &[])], Layout::Docker24));
    program.ok(["load", archive.to_str().unwrap(), "--arch=amd64"]);
    image.config_digest.to_string()
}

fn image(layers: &[&[Entry]]) -> Image {
    let add = |image: ImageBuilder, entries: &&[Entry]| image.layer(&Layer::new(entries.iter().cloned()));
    layers.iter().fold(ImageBuilder::new().platform("linux/amd64"), add).build()
}

/// The expected values are umoci's. For whiteouts in directories that no layer has, which umoci ignores, they are those
/// of Docker 20 and 28 and of overlayfs.
#[test]
fn whiteouts_at_every_path() {
    let test: &[Entry] = &[Entry::directory("test"), Entry::file("test/test", "1"), Entry::file("keep", "1")];
    let a_and_b: &[Entry] = &[Entry::file("a/a", "1"), Entry::file("b/a", "2")];
    let (whiteout, opaque) = (Entry::whiteout("test"), Entry::opaque("test"));
    let (below, becomes) = (Entry::whiteout("test/test"), Entry::file("a", "a file"));
    let (link, gone) = (Entry::symlink("a", "b"), Entry::whiteout("a/a"));
    for (upper, lower, expected) in [
        ([whiteout.clone(), below.clone()], test, "keep\n"),
        ([below, whiteout.clone()], test, "keep\n"),
        ([whiteout.clone(), opaque.clone()], test, "keep\n"),
        ([opaque, whiteout], test, "keep\n"),
        ([becomes.clone(), gone.clone()], a_and_b, "a\nb\nb/a\n"),
        ([gone.clone(), becomes], a_and_b, "a\nb\nb/a\n"),
        ([link.clone(), gone.clone()], a_and_b, "a\nb\n"),
        ([gone, link], a_and_b, "a\nb\nb/a\n"),
        ([Entry::whiteout("no/such/x"), Entry::whiteout("b")], a_and_b, "a\na/a\nno\nno/such\n"),
    ] {
        let program = Program::new();
        let id = load(&program, &image(&[lower, &upper]));
        assert_eq!(program.ok(["ls", "--recursive", &id]), expected, "{upper:?}");
    }
}

/// Maven, Ant and JRuby write the version; other tools end every name with a slash.
#[test]
fn headers_of_unusual_writers() {
    for version in [b"\0\0", b"  ", b" \0"] {
        let of = |kind| Header::new(Magic::Ustar, kind).field(Field(263, 2), version);
        let mut tar = TarBuilder::new();
        tar.entry(of(typeflag::FILE).prefix(b"lib/long").name(b"name/"), b"xyz");
        tar.header(&of(typeflag::CHAR_DEVICE).name(b"null").device(1, 3));
        let program = Program::new();
        let image = ImageBuilder::new().platform("linux/amd64").layer_tar(tar.finish()).build();
        let id = load(&program, &image);
        assert_eq!(program.ok(["ls", "--recursive", &id]), "lib\nlib/long\nlib/long/name\nnull\n");
        assert_eq!(program.ok(["cat", &id, "lib/long/name"]), "xyz");
        assert!(program.ok(["ls", "--long", &id]).contains("   1, 3 "), "{version:?}");
    }
}
