//! Reading of policies, and the lookup of their sections.

use std::time::SystemTime;

use vmroot_model::{Digest, Reference};
use vmroot_trust::{
    EvaluationOptions, ImageIdentity, ImageToJudge, NoSignatures, Policy, Refusal, Requirement, Verdict, evaluate,
};

fn reason(policy: &str) -> String {
    Policy::parse(policy.as_bytes()).unwrap_err().to_string()
}

fn docker(name: &str) -> ImageIdentity {
    ImageIdentity::docker(&Reference::parse(name).unwrap()).unwrap()
}

fn judge(policy: &Policy, name: &str, require_signed: bool) -> Verdict {
    let manifest = b"{}";
    let image = ImageToJudge { identity: &docker(name), manifest, digest: Digest::of(manifest), indexes: &[] };
    evaluate(policy, &image, &NoSignatures, &EvaluationOptions { now: SystemTime::now(), require_signed })
}

#[test]
fn the_whole_document_is_strict() {
    for (policy, wanted) in [
        ("", "EOF"),
        ("[]", "not an object"),
        ("{}", "\"default\" is missing"),
        (r#"{"default":[]}"#, "policy.default is empty"),
        (r#"{"default":null}"#, "not an array"),
        (r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#, "appears twice"),
        (r#"{"default":[{"type":"reject"}],"Default":[]}"#, "unknown member \"Default\""),
        (r#"{"default":[{"type":"reject","x":1}]}"#, "policy.default[0] has the unknown member \"x\""),
        (r#"{"default":[{"type":"accept"}]}"#, "unknown type \"accept\""),
        (r#"{"default":[{}]}"#, "no member \"type\""),
        (
            r#"{"default":[{"type":"reject"}],"transports":{"docker":{"a":[]}}}"#,
            "policy.transports.docker[\"a\"] is empty",
        ),
        (
            r#"{"default":[{"type":"reject"}],"transports":{"dir":{"/":[{"type":"reject"}]}}}"#,
            "the scope is not an absolute",
        ),
    ] {
        assert!(reason(policy).contains(wanted), "{policy}: {}", reason(policy));
    }
}

#[test]
fn requirements_are_strict() {
    for (requirement, wanted) in [
        (r#""type":"signedBy""#, "no member \"keyType\""),
        (r#""type":"signedBy","keyType":"GPG","keyPath":"/k""#, "unknown keyType"),
        (r#""type":"signedBy","keyType":"GPGKeys""#, "needs one of keyPath, keyPaths, keyData"),
        (r#""type":"signedBy","keyType":"GPGKeys","keyPath":"""#, "empty keyPath"),
        (r#""type":"signedBy","keyType":"GPGKeys","keyPaths":[]"#, "empty keyPaths"),
        (r#""type":"signedBy","keyType":"GPGKeys","keyPath":"/k","keyData":"YQ==""#, "only one of"),
        (r#""type":"signedBy","keyType":"GPGKeys","keyData":"!""#, "not base64"),
        (r#""type":"signedBy","keyType":"GPGKeys","keyPath":"/k","signedIdentity":{"type":"x"}"#, "unknown type \"x\""),
        (r#""type":"signedBaseLayer""#, "no member \"baseLayerIdentity\""),
        (r#""type":"sigstoreSigned""#, "exactly one of"),
        (r#""type":"sigstoreSigned","keyPath":"/k","pki":{"caRootsPath":"/r","subjectEmail":"a@b"}"#, "exactly one of"),
        (
            r#""type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyPath":"/r","rekorPublicKeyPaths":["/r"]"#,
            "only one of",
        ),
        (r#""type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"s"}"#, "rekorPublicKey"),
        (
            r#""type":"sigstoreSigned","rekorPublicKeyPath":"/r","fulcio":{"caPath":"/c","oidcIssuer":"i"}"#,
            "subjectEmail",
        ),
        (
            r#""type":"sigstoreSigned","rekorPublicKeyPath":"/r","pki":{"caRootsPath":"/r","subjectEmail":"a"}"#,
            "excludes",
        ),
        (r#""type":"sigstoreSigned","pki":{"caRootsPath":"/r"}"#, "needs subjectEmail or subjectHostname"),
        (r#""type":"vmrootBundleSigned""#, "needs either"),
        (r#""type":"vmrootBundleSigned","trustedRootPath":"/t","certificateIdentity":"a""#, "needs either"),
        (r#""type":"vmrootBundleSigned","keyPath":"/k","signedIdentity":{"type":"matchExact"}"#, "signedIdentity"),
    ] {
        let policy = format!(r#"{{"default":[{{{requirement}}}]}}"#);
        assert!(reason(&policy).contains(wanted), "{policy}: {}", reason(&policy));
    }
}

#[test]
fn every_type_is_read() {
    let policy = br#"{"default":[
        {"type":"insecureAcceptAnything"}, {"type":"reject"},
        {"type":"signedBy","keyType":"X509Certificates","keyPaths":["/a","/b"],"signedIdentity":{"type":"matchExact"}},
        {"type":"signedBaseLayer","baseLayerIdentity":{"type":"exactRepository","dockerRepository":"a/b"}},
        {"type":"sigstoreSigned","keyDatas":["YQ=="],"signedIdentity":
            {"type":"remapIdentity","prefix":"a.b/c","signedPrefix":"d.e"}},
        {"type":"sigstoreSigned","rekorPublicKeyDatas":["YQ=="],
            "fulcio":{"caData":"YQ==","oidcIssuer":"i","subjectEmail":"s"}},
        {"type":"sigstoreSigned","pki":{"caRootsData":"YQ==","caIntermediatesPath":"/i","subjectHostname":"h"}},
        {"type":"vmrootBundleSigned","keyPath":"/k","trustedRootPath":"/t"},
        {"type":"vmrootBundleSigned","trustedRootData":"YQ==","certificateIdentity":"a","certificateOidcIssuer":"i"}
    ]}"#;
    let policy = Policy::parse(policy).unwrap();
    let names: Vec<_> = policy.requirements(&docker("a:1")).requirements.iter().map(Requirement::name).collect();
    assert_eq!(names.len(), 9);
    assert_eq!(names[7..], ["vmrootBundleSigned"; 2]);
    let texts: Vec<_> = policy.requirements(&docker("a:1")).requirements.iter().map(ToString::to_string).collect();
    assert_eq!(texts[1], "reject");
    assert_eq!(texts[2], "signedBy with X509Certificates in /a or /b, matchExact");
    assert_eq!(
        texts[6],
        "sigstoreSigned with a certificate of h and an authority in the policy, matchRepoDigestOrExact"
    );
    assert_eq!(texts[7], "vmrootBundleSigned with a key in /k and a log of /t, by digest");
}

#[test]
fn the_most_specific_section_alone_applies() {
    let section = |text: &str| format!(r#""{text}":[{{"type":"reject"}}]"#);
    let scopes = ["", "*.example.com", "reg.example.com", "reg.example.com/a", "reg.example.com/a/b:1"];
    let docker_scopes = scopes.map(section).join(",");
    let policy = format!(
        r#"{{"default":[{{"type":"insecureAcceptAnything"}}],"transports":{{"docker":{{{docker_scopes}}},"oci":{{}}}}}}"#
    );
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    for (name, wanted) in [
        ("reg.example.com/a/b:1", "transports.docker[\"reg.example.com/a/b:1\"]"),
        ("reg.example.com/a/b:2", "transports.docker[\"reg.example.com/a\"]"),
        ("reg.example.com/ab:1", "transports.docker[\"reg.example.com\"]"),
        ("other.example.com:5000/a:1", "transports.docker[\"*.example.com\"]"),
        ("example.com/a:1", "transports.docker[\"\"]"),
    ] {
        assert_eq!(policy.requirements(&docker(name)).section().to_string(), wanted);
        assert!(!judge(&policy, name, false).is_accepted());
    }
    let oci = ImageIdentity::path(vmroot_trust::PathTransport::Oci, "/a".as_ref()).unwrap();
    assert_eq!(policy.requirements(&oci).section().to_string(), "default");
}

#[test]
fn an_overlay_replaces_sections_and_may_lack_a_default() {
    let base = Policy::parse(br#"{"default":[{"type":"reject"}]}"#).unwrap();
    let accept = br#"{"transports":{"docker":{"a.example.com":[{"type":"insecureAcceptAnything"}]}}}"#;
    let overlay = Policy::parse_overlay(accept).unwrap();
    let both = base.with_overlay(overlay.clone());
    assert!(judge(&both, "a.example.com/x:1", false).is_accepted());
    assert!(!judge(&both, "b.example.com/x:1", false).is_accepted());
    assert!(!judge(&overlay, "b.example.com/x:1", false).is_accepted(), "without any default, the image is refused");
}

#[test]
fn a_required_signature_needs_a_requirement_that_verifies_one() {
    assert!(judge(&Policy::insecure(), "a:1", false).is_accepted());
    let verdict = judge(&Policy::insecure(), "a:1", true);
    assert_eq!(verdict.refusal, Some(Refusal::NotSigned));
    let message = verdict.into_result().unwrap_err().to_string();
    assert!(message.contains("docker.io/library/a:1") && message.contains("a signature is required"), "{message}");
}

#[test]
fn documents_with_other_digests_are_refused() {
    let identity = docker("a:1");
    let options = EvaluationOptions { now: SystemTime::now(), require_signed: false };
    let index = |entry: &Digest| {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
                "manifests":[{{"mediaType":"{manifest}","digest":"{entry}","size":2}}]}}"#
        );
        (Digest::of(text.as_bytes()), text.into_bytes())
    };
    let digest = Digest::of(b"{}");
    let inner = index(&digest);
    let outer = index(&inner.0);
    let other = Digest::of(b"x");
    for (digest, indexes, accepted) in [
        (digest, vec![inner.clone(), outer.clone()], true),
        (digest, vec![outer.clone()], false),
        (digest, vec![outer.clone(), inner.clone()], false),
        (digest, vec![(other, inner.1.clone())], false),
        (other, vec![], false),
    ] {
        let image = ImageToJudge { identity: &identity, manifest: b"{}", digest, indexes: &indexes };
        let verdict = evaluate(&Policy::insecure(), &image, &NoSignatures, &options);
        assert_eq!(verdict.is_accepted(), accepted, "{verdict:?}");
    }
}

#[test]
fn files_are_found_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| directory.path().join(name));
    assert!(Policy::find(&paths).unwrap().is_none());
    std::fs::write(&paths[1], r#"{"default":[{"type":"reject"}]}"#).unwrap();
    std::fs::write(&paths[2], "x").unwrap();
    assert_eq!(Policy::find(&paths).unwrap().unwrap().path(), Some(&*paths[1]));
    let error = Policy::find(&paths[2..]).unwrap_err();
    assert!(error.to_string().starts_with(paths[2].to_str().unwrap()), "{error}");
}
