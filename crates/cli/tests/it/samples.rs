//! Sample images.

use vmroot_model::Digest;
use vmroot_testkit::image::{Image, ImageBuilder, Index, IndexBuilder};
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::sample::noise;

/// The repository of all tests.
pub(crate) const REPOSITORY: &str = "test/image";

/// Returns the lower layer of the samples: a few files of every common kind.
pub(crate) fn base() -> Layer {
    Layer::new([
        Entry::directory("etc").mtime(1_600_000_000, 123_456_789),
        Entry::file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"),
        Entry::file("etc/group", "root:x:0:\nstaff:x:1001:\n"),
        Entry::directory("usr"),
        Entry::directory("usr/bin"),
        Entry::file("usr/bin/tool", "#!/bin/sh\n").mode(0o4755).xattr("user.origin", "base"),
        Entry::hard_link("usr/bin/alias", "usr/bin/tool"),
        Entry::symlink("bin", "usr/bin"),
        Entry::symlink("loop", "loop"),
        Entry::char_device("null", 1, 3).mode(0o666),
        Entry::file("doomed", "gone in the next layer"),
    ])
}

/// Returns the upper layer of the samples: a change, an addition and a removal.
pub(crate) fn top(text: &str) -> Layer {
    Layer::new([
        Entry::file("etc/motd", format!("{text}\n")).owner(1000, 1001),
        Entry::file("usr/bin/extra", noise(text.len() as u64, 20_000)),
        Entry::whiteout("doomed"),
    ])
}

/// Builds an image of two layers for this architecture. A file holds the name of the architecture.
pub(crate) fn image(architecture: &str) -> Image {
    ImageBuilder::new()
        .platform(&format!("linux/{architecture}"))
        .setting("Env", vec!["PATH=/usr/bin", "MODE=test"])
        .setting("Entrypoint", vec!["/usr/bin/tool"])
        .setting("User", "app:staff")
        .setting("WorkingDir", "/etc")
        .layer(&base())
        .layer(&top(architecture))
        .build()
}

/// Builds an index of an image for amd64 and one for arm64, with an attestation of the second.
pub(crate) fn index() -> Index {
    IndexBuilder::new().image(image("amd64")).image(image("arm64")).attestation().build()
}

/// Builds an image of layers with incompressible files, `size` bytes in each layer.
pub(crate) fn noisy(layers: u64, size: usize) -> Image {
    let layer = |number: u64| {
        let files = (0..8).map(|file| Entry::file(format!("{number}-{file}"), noise(number * 8 + file, size / 8)));
        Layer::new(files)
    };
    (0..layers).fold(ImageBuilder::new(), |image, number| image.layer(&layer(number))).build()
}

/// Serves an image under a tag, and returns its reference.
pub(crate) fn serve(registry: &Registry, image: &Image, tag: &str) -> String {
    for (digest, bytes) in image.blobs() {
        registry.put_blob_as(&digest, bytes);
    }
    let document = &image.manifest;
    registry.put_manifest(REPOSITORY, Some(tag), &document.media_type, &document.bytes);
    format!("{}/{REPOSITORY}:{tag}", registry.host())
}

/// Serves an index and its images under a tag, and returns its reference.
pub(crate) fn serve_index(registry: &Registry, index: &Index, tag: &str) -> String {
    for (digest, bytes) in index.blobs() {
        registry.put_blob_as(&digest, bytes);
    }
    for document in index.documents() {
        let tag = (document.digest == index.document.digest).then_some(tag);
        registry.put_manifest(REPOSITORY, tag, &document.media_type, &document.bytes);
    }
    format!("{}/{REPOSITORY}:{tag}", registry.host())
}

/// Returns a reference to the same repository by digest.
pub(crate) fn by_digest(registry: &Registry, digest: &Digest) -> String {
    format!("{}/{REPOSITORY}@{digest}", registry.host())
}
