//! The quick check `validate_tar`.

use std::path::Path;

use vmroot_testkit::FullMessage as _;
use vmroot_transport::{Error, validate_tar};

use crate::builder::{Image, bzip2, docker_save, file, gzip, oci_layout, tar, xz, zstd};
use crate::pull::SavedArchive;

fn check(bytes: &[u8]) -> Result<(), Error> {
    validate_tar(&SavedArchive::new(bytes).path)
}

#[test]
fn archives_with_images() {
    let image = Image::new(1, 2);
    let docker = tar(&docker_save(&[(&image, &["a:1"])]));
    check(&docker).unwrap();
    for encode in [gzip, zstd, xz, bzip2] {
        check(&encode(&docker)).unwrap();
    }
    check(&tar(&[file("./manifest.json", "[{}]")])).unwrap();
    let blobs = image.blobs(&vmroot_model::MediaType::OCI_LAYER_GZIP, gzip);
    let entry = serde_json::json!({});
    check(&tar(&oci_layout(&blobs, &[entry]))).unwrap();
}

#[test]
fn errors_state_the_reason() {
    let starts = |error: Error, start: &str| {
        let text = error.full_message();
        assert!(text.starts_with(start), "{text}");
    };
    starts(validate_tar(Path::new("/nonexistent/a.tar")).unwrap_err(), "open tar /nonexistent/a.tar");
    starts(check(&tar(&[file("x/manifest.json", "[{}]")])).unwrap_err(), "manifest.json not found in tar archive");
    starts(check(b"").unwrap_err(), "manifest.json not found in tar archive");
    starts(check(&[b'x'; 4096]).unwrap_err(), "read tar");
    starts(check(&gzip(b"tar")[..10]).unwrap_err(), "read tar");
    for content in ["", "{}", "null", "[{}"] {
        starts(check(&tar(&[file("manifest.json", content)])).unwrap_err(), "parse manifest.json");
    }
    starts(check(&tar(&[file("manifest.json", "[]")])).unwrap_err(), "no images in tar archive");
    starts(check(&tar(&oci_layout(&[], &[]))).unwrap_err(), "no images in tar archive");
    starts(check(&tar(&[file("manifest.json", vec![b' '; 5 << 20])])).unwrap_err(), "read tar");
}
