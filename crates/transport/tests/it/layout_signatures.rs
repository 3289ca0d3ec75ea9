//! Signatures in OCI layouts: as attachments under the tag that cosign gives them in a registry.

use std::fs;

use serde_json::Value;
use vmroot_model::Digest;
use vmroot_signatures::Signature;
use vmroot_transport::{Error, ManifestPlace};

use crate::copying::{Workplace, copy};
use crate::signatures::{sigstore, simple};

/// Copies an image of the workplace with signatures of its top document, which has the returned digest.
fn copy_signed(workplace: &Workplace, from: &str, to: &str, signatures: &[Signature]) -> Digest {
    let (source, destination) = (workplace.source(from), workplace.destination(to));
    let digest = Digest::of(&source.manifest(None).unwrap().bytes);
    assert_eq!(destination.signatures_refusal(), None);
    destination.put_signatures(&digest, ManifestPlace::Top, signatures).unwrap();
    copy(&*source, &*destination).unwrap();
    digest
}

fn signatures(workplace: &Workplace, name: &str, digest: &Digest) -> Vec<Signature> {
    workplace.source(name).signatures(digest).unwrap()
}

#[test]
fn layouts_and_archives_have_the_signatures_of_each_image() {
    let workplace = Workplace::new();
    for [image, list] in [["oci:layout:a", "oci:layout:b"], ["oci-archive:a.tar:a", "oci-archive:b.tar:b"]] {
        let first = copy_signed(&workplace, "oci:source:image", image, &[sigstore("x"), sigstore("y")]);
        let second = copy_signed(&workplace, "oci:source:list", list, &[sigstore("z")]);
        assert_eq!(signatures(&workplace, image, &first), [sigstore("x"), sigstore("y")]);
        assert_eq!(signatures(&workplace, list, &second), [sigstore("z")]);
        assert_eq!(signatures(&workplace, list, &Digest::of(b"other")), []);
    }
}

/// As in a registry, a copy does not remove the signatures of others.
#[test]
fn signatures_that_are_there_stay() {
    let workplace = Workplace::new();
    copy_signed(&workplace, "oci:source:image", "oci:layout:a", &[sigstore("x")]);
    let digest = copy_signed(&workplace, "oci:source:image", "oci:layout:b", &[sigstore("y"), sigstore("x")]);
    copy_signed(&workplace, "oci:source:image", "oci:layout:b", &[]);
    assert_eq!(signatures(&workplace, "oci:layout:b", &digest), [sigstore("x"), sigstore("y")]);
    let index: Value = serde_json::from_slice(&workplace.read("layout/index.json")).unwrap();
    let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
    let tag = format!("sha256-{}.sig", digest.hex());
    let names: Vec<_> = index["manifests"].as_array().unwrap().iter().filter_map(name).collect();
    assert_eq!(names.iter().filter(|name| **name == tag).count(), 1, "{names:?}");
    let kinds = |entry: &Value| entry["annotations"]["kind"].as_str().map(str::to_owned);
    let kinds: Vec<_> = index["manifests"].as_array().unwrap().iter().filter_map(kinds).collect();
    assert!(kinds.contains(&"dev.cosignproject.cosign/image".to_owned()), "{kinds:?}");
    assert!(kinds.contains(&"dev.cosignproject.cosign/sigs".to_owned()), "{kinds:?}");
}

#[test]
fn damaged_attachments_are_replaced() {
    let workplace = Workplace::new();
    let digest = copy_signed(&workplace, "oci:source:image", "oci:layout:a", &[sigstore("x")]);
    let index: Value = serde_json::from_slice(&workplace.read("layout/index.json")).unwrap();
    let is_attachment = |entry: &&Value| entry["annotations"]["kind"] == "dev.cosignproject.cosign/sigs";
    let entry = index["manifests"].as_array().unwrap().iter().find(is_attachment).unwrap();
    let hex = entry["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    fs::write(workplace.path("layout/blobs/sha256").join(hex), "{}").unwrap();
    assert!(workplace.source("oci:layout:a").signatures(&digest).is_err());
    copy_signed(&workplace, "oci:source:image", "oci:layout:a", &[sigstore("y")]);
    assert_eq!(signatures(&workplace, "oci:layout:a", &digest), [sigstore("y")]);
}

#[test]
fn openpgp_messages_have_no_place() {
    let workplace = Workplace::new();
    for name in ["oci:layout:a", "oci-archive:a.tar:a"] {
        let destination = workplace.destination(name);
        let error = destination.put_signatures(&Digest::of(b"x"), ManifestPlace::Top, &[sigstore("x"), simple("y")]);
        assert!(matches!(error, Err(Error::CannotHoldSignatures { .. })), "{error:?}");
    }
}
