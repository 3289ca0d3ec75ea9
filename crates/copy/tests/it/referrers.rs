//! Documents that refer to the image.

use std::sync::{Arc, Mutex};

use serde_json::json;
use vmroot_compress::Target;
use vmroot_copy::{Compression, Error};
use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, MediaType, Reference};
use vmroot_signatures::{
    Applicable, EvaluationOptions, ImageIdentity, ImageToJudge, Judge, Refusal, Requirement, SignatureSource, Verdict,
};
use vmroot_transport::{Admission, ManifestPlace};

use crate::destination::MemoryDestination;
use crate::image::{add_artifact, image, json_of, plain};
use crate::source::MemorySource;
use crate::{copy, options};

fn with_referrers() -> vmroot_copy::CopyOptions {
    let mut options = options();
    options.referrers = true;
    options
}

#[test]
fn referrers_of_referrers_are_copied_once() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    let top = source.top.unwrap();
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, &image.manifest.bytes);
    let signature = add_artifact(&mut source, "signature", Some(&subject));
    let bill = add_artifact(&mut source, "bill", Some(&subject));
    let of_signature = add_artifact(&mut source, "of the signature", Some(&signature));
    source.top = Some(top);
    // A hostile source can answer with loops.
    source.referrers.insert(top, vec![signature.clone(), bill.clone(), signature.clone()]);
    source.referrers.insert(signature.digest, vec![of_signature.clone(), signature.clone()]);
    source.referrers.insert(of_signature.digest, vec![signature.clone(), bill.clone()]);
    let destination = MemoryDestination::new();
    let report = copy(&source, &destination, with_referrers()).unwrap();
    let mut copied: Vec<Digest> = report.referrers.iter().map(|it| it.digest).collect();
    let mut expected = vec![signature.digest, bill.digest, of_signature.digest];
    copied.sort();
    expected.sort();
    assert_eq!(copied, expected);
    let state = destination.state();
    let referrers = state.documents.iter().filter(|(_, _, place, _)| *place == ManifestPlace::Referrer);
    assert_eq!(referrers.count(), 3);
    drop(state);

    let destination = MemoryDestination::new();
    assert!(copy(&source, &destination, options()).unwrap().referrers.is_empty());
    assert_eq!(destination.state().documents.len(), 1);
}

#[test]
fn referrers_of_an_image_that_changes_are_left_out() {
    let image = plain(vmroot_testkit::image::Format::Oci);
    let mut source = MemorySource::of_image(&image);
    let top = source.top.unwrap();
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, &image.manifest.bytes);
    let signature = add_artifact(&mut source, "signature", Some(&subject));
    source.top = Some(top);
    source.referrers.insert(top, vec![signature]);
    let report = copy(&source, &MemoryDestination::new(), with_referrers()).unwrap();
    assert!(report.referrers.is_empty(), "the digest of plain layers changes: {report:?}");
}

#[test]
fn a_referrer_is_not_recompressed() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    let top = source.top.unwrap();
    let other = plain(vmroot_testkit::image::Format::Oci);
    source.blobs.extend(other.blobs());
    let referrer = source.add_document(&other.manifest.bytes, &other.manifest.media_type);
    let list =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": [json_of(&referrer)]});
    let list = source.add_document(&serde_json::to_vec(&list).unwrap(), MediaType::OCI_INDEX.as_str());
    source.top = Some(top);
    source.referrers.insert(top, vec![referrer.clone(), list.clone()]);
    let destination = MemoryDestination::new();
    copy(&source, &destination, with_referrers()).unwrap();
    let state = destination.state();
    for expected in [&referrer, &list] {
        assert!(state.documents.iter().any(|(digest, ..)| *digest == expected.digest), "{expected:?}");
    }
    drop(state);

    let mut zstd = with_referrers();
    zstd.compression = Some(Compression { target: Target::Gzip { level: Some(9) }, force: false });
    let destination = MemoryDestination::new();
    // Gzip stays gzip, so the image is unchanged and has its referrers.
    let report = copy(&source, &destination, zstd).unwrap();
    assert_eq!(report.referrers.len(), 2, "{report:?}");
}

#[test]
fn endless_referrers_are_an_error() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    let top = source.top.unwrap();
    let mut subject = Descriptor::of(MediaType::OCI_MANIFEST, &image.manifest.bytes);
    for number in 0..1001 {
        let next = add_artifact(&mut source, &format!("part {number}"), Some(&subject));
        source.referrers.insert(subject.digest, vec![next.clone()]);
        subject = next;
    }
    source.top = Some(top);
    let destination = MemoryDestination::new();
    let error = copy(&source, &destination, with_referrers()).unwrap_err();
    assert!(matches!(error, Error::TooManyReferrers { limit: 1000, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(destination.state().commits, 0);
}

/// Refuses one document, and remembers those that it was asked about.
#[derive(Debug, Default)]
struct Gate {
    refused: Option<Digest>,
    asked: Mutex<Vec<(String, Digest)>>,
}

impl Judge for Gate {
    fn requirements(&self, _: &ImageIdentity) -> Applicable<'_> {
        Applicable { scope: None, file: None, requirements: &[Requirement::Reject] }
    }

    fn judge(&self, image: &ImageToJudge<'_>, _: &dyn SignatureSource, _: &EvaluationOptions) -> Verdict {
        self.asked.lock().unwrap().push((image.identity.identity().to_owned(), image.digest));
        let mut verdict = Verdict::of(&self.requirements(image.identity), image);
        if self.refused == Some(image.digest) {
            verdict.refusal = Some(Refusal::NotSigned);
        }
        verdict
    }
}

/// A bill of materials is judged under the repository and its digest. A signature is not: nobody signs it.
#[test]
fn referrers_are_judged_unless_they_are_signatures() {
    let image = image("amd64");
    let mut source = MemorySource::of_image(&image);
    source.repository = Some(Reference::parse("example.com/a:1").unwrap());
    let top = source.top.unwrap();
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, &image.manifest.bytes);
    let bill = add_artifact(&mut source, "bill", Some(&subject));
    let manifest = source.documents[&bill.digest].0.clone();
    let manifest = String::from_utf8(manifest).unwrap().replace("vnd.example", "vnd.dev.sigstore.bundle.v0.3+json");
    let bundle = source.add_document(manifest.as_bytes(), MediaType::OCI_MANIFEST.as_str());
    let smuggled = manifest.replace("vnd.oci.empty.v1+json", "vnd.oci.image.config.v1+json");
    let smuggled = source.add_document(smuggled.as_bytes(), MediaType::OCI_MANIFEST.as_str());
    source.top = Some(top);
    source.referrers.insert(top, vec![bill.clone(), bundle.clone()]);
    let run = |source: &MemorySource, refused: Option<Digest>| {
        let gate = Arc::new(Gate { refused, asked: Mutex::default() });
        let mut options = with_referrers();
        options.admission = Some(Admission { policy: Arc::clone(&gate) as _, require_signed: false });
        let destination = MemoryDestination::new();
        let result = copy(source, &destination, options);
        let asked = gate.asked.lock().unwrap().clone();
        (result, asked, destination.state().commits)
    };
    let (result, asked, commits) = run(&source, None);
    assert_eq!((result.unwrap().referrers.len(), commits), (2, 1));
    let named = ("example.com/a:1".to_owned(), top);
    assert_eq!(asked, [named, (format!("example.com/a@{}", bill.digest), bill.digest)]);
    let (result, _, commits) = run(&source, Some(bill.digest));
    assert_eq!((result.unwrap_err().kind(), commits), (ErrorKind::Policy, 0));
    assert!(run(&source, Some(bundle.digest)).0.is_ok());
    // An image is no signature by its own word.
    source.referrers.insert(top, vec![smuggled.clone()]);
    assert!(run(&source, Some(smuggled.digest)).0.is_err());
}
