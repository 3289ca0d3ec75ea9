//! `signedBy`, with signatures that skopeo and gpg make.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;
use vmroot_model::Digest;
use vmroot_openpgp::{GnupgHome, SigningKey};
use vmroot_trust::{Coverage, Payload, PayloadKind, SIGNATURES_LIMIT, Signature};

use crate::memory::{MANIFEST, Memory, index_of, judge, refusal};

/// A home of GnuPG with a key.
pub(crate) struct Signer {
    home: TempDir,
    pub(crate) fingerprint: String,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("gnupg").tempdir().unwrap();
        let mut signer = Self { home, fingerprint: String::new() };
        signer.gpg(&["--quick-generate-key", "signer@example.com", "rsa2048", "sign", "never"], b"");
        let listing = String::from_utf8(signer.gpg(&["--with-colons", "--list-keys"], b"")).unwrap();
        let line = listing.lines().find(|line| line.starts_with("fpr:")).unwrap();
        signer.fingerprint = line.split(':').nth(9).unwrap().to_owned();
        signer
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home());
        command
            .args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("gpg is installed");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Writes the certificate, and returns its path.
    pub(crate) fn ring(&self) -> PathBuf {
        let path = self.home().join("ring.gpg");
        std::fs::write(&path, self.gpg(&["--export"], b"")).unwrap();
        path
    }

    pub(crate) fn sign(&self, content: &[u8]) -> Signature {
        Signature::from_stored(&self.gpg(&["--sign"], content))
    }

    pub(crate) fn sign_payload(&self, digest: Digest, reference: &str) -> Signature {
        self.sign(&Payload::new(digest, reference, "test", SystemTime::now()).to_bytes(PayloadKind::Simple))
    }

    /// Signs as skopeo does, and returns the stored signature.
    pub(crate) fn skopeo_sign(&self, manifest: &[u8], reference: &str) -> Vec<u8> {
        let (input, output) = (self.home().join("manifest"), self.home().join("signature"));
        std::fs::write(&input, manifest).unwrap();
        let mut command = Command::new("skopeo");
        command.env("GNUPGHOME", self.home()).arg("standalone-sign").arg(&input).args([reference, &self.fingerprint]);
        let result = command.arg("--output").arg(&output).output().expect("skopeo is installed");
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        std::fs::read(output).unwrap()
    }

    pub(crate) fn requirement(&self, rest: &str) -> String {
        format!(r#"{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}"{rest}}}"#, self.ring().display())
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).output();
    }
}

#[test]
fn signatures_of_skopeo_are_accepted() {
    let signer = Signer::new();
    let stored = signer.skopeo_sign(MANIFEST, "example.com/a/b:1");
    let source = Memory::signed(&[Signature::from_stored(&stored)]);
    let verdict = judge(&signer.requirement(""), "example.com/a/b:1", &source, &[]);
    let accepted = verdict.accepted_signatures().next().unwrap().clone();
    assert_eq!((accepted.verified, accepted.coverage), (Digest::of(MANIFEST), Coverage::Manifest));
    assert_eq!(accepted.reference.as_deref(), Some("example.com/a/b:1"));
    assert_eq!(accepted.signer, format!("OpenPGP key {}", signer.fingerprint));
    let other = judge(&signer.requirement(""), "example.com/a/b:2", &source, &[]);
    assert!(refusal(other).contains("it is for example.com/a/b:1, but matchRepoDigestOrExact needs example.com/a/b:2"));
    let repository = signer.requirement(r#","signedIdentity":{"type":"matchRepository"}"#);
    assert!(judge(&repository, "example.com/a/b:2", &source, &[]).is_accepted());
}

#[test]
fn skopeo_verifies_what_our_key_of_a_gnupg_home_signs() {
    let signer = Signer::new();
    let now = SystemTime::now() + std::time::Duration::from_secs(1);
    let home = GnupgHome::read(signer.home()).unwrap();
    let key = SigningKey::from_gnupg(&home, "signer@example.com", None, now).unwrap();
    let payload = Payload::new(Digest::of(MANIFEST), "example.com/a/b:1", "vmroot test", SystemTime::now());
    let message = key.sign(&payload.to_bytes(PayloadKind::Simple), SystemTime::now()).unwrap();
    let stored = Signature::Simple(message.clone()).to_stored();
    assert_eq!(stored, message, "skopeo 1.9 knows no format names");
    let paths = ["manifest", "signature"].map(|name| signer.home().join(name));
    std::fs::write(&paths[0], MANIFEST).unwrap();
    std::fs::write(&paths[1], &stored).unwrap();
    let verify = |reference: &str| {
        let mut command = Command::new("skopeo");
        command.env("GNUPGHOME", signer.home()).arg("standalone-verify").arg(&paths[0]);
        command.args([reference, &signer.fingerprint]).arg(&paths[1]).output().unwrap()
    };
    let result = verify("example.com/a/b:1");
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    assert!(!verify("example.com/a/b:2").status.success());
    let source = Memory::signed(&[Signature::from_stored(&stored)]);
    assert!(judge(&signer.requirement(""), "example.com/a/b:1", &source, &[]).is_accepted());
}

#[test]
fn a_bad_signature_neither_hides_a_good_one_nor_counts() {
    let signer = Signer::new();
    let stranger = Signer::new();
    let digest = Digest::of(MANIFEST);
    let bad = [
        stranger.sign_payload(digest, "example.com/a:1"),
        signer.sign_payload(Digest::of(b"other"), "example.com/a:1"),
        signer.sign(b"{}"),
        signer.sign(b"not JSON"),
        Signature::Simple(b"\xa3garbage".to_vec()),
        Signature::from_stored(b"garbage"),
        Signature::from_stored(b"\0sigstore-json\n{\"mimeType\":\"x\",\"payload\":\"\",\"annotations\":{}}"),
    ];
    let verdict = judge(&signer.requirement(""), "example.com/a:1", &Memory::signed(&bad), &[]);
    assert_eq!(verdict.judgements[0].examined.len(), bad.len());
    for (examined, wanted) in verdict.judgements[0].examined.iter().zip([
        "no key of the keyring",
        "for another digest",
        "no member \"critical\"",
        "payload is not valid",
        "not a signed message",
        "byte 0x67",
        "sigstore attachment",
    ]) {
        let reason = examined.result.as_ref().unwrap_err();
        assert!(reason.contains(wanted), "{wanted}: {reason}");
    }
    assert!(!verdict.is_accepted());
    let good = signer.sign_payload(digest, "example.com/a:1");
    let all = [&bad[..], &[good]].concat();
    assert!(judge(&signer.requirement(""), "example.com/a:1", &Memory::signed(&all), &[]).is_accepted());
}

#[test]
fn nothing_and_too_many_are_refused() {
    let signer = Signer::new();
    let source = Memory::default();
    let verdict = judge(&signer.requirement(""), "example.com/a:1", &source, &[]);
    assert!(refusal(verdict).contains("the image has none"));
    assert_eq!(*source.requests.borrow(), [("signatures", Digest::of(MANIFEST))]);
    let mut many = vec![Signature::Simple(vec![0xa3]); SIGNATURES_LIMIT];
    many.push(signer.sign_payload(Digest::of(MANIFEST), "example.com/a:1"));
    let verdict = judge(&signer.requirement(""), "example.com/a:1", &Memory::signed(&many), &[]);
    assert!(!verdict.is_accepted());
    let mut unreachable = Memory::signed(&many[SIGNATURES_LIMIT..]);
    unreachable.unreachable.push(Digest::of(MANIFEST));
    let verdict = judge(&signer.requirement(""), "example.com/a:1", &unreachable, &[]);
    assert_eq!(verdict.judgements[0].failures.len(), 1);
    assert!(refusal(verdict).contains("does not answer"));
}

#[test]
fn a_signed_index_covers_the_instance_that_it_names() {
    let signer = Signer::new();
    let index = index_of(&Digest::of(MANIFEST));
    let signature = signer.sign_payload(index.0, "example.com/a:1");
    let source = Memory { signatures: [(index.0, vec![signature.clone()])].into(), ..Memory::default() };
    let verdict = judge(&signer.requirement(""), "example.com/a:1", &source, std::slice::from_ref(&index));
    let accepted = verdict.accepted_signatures().next().unwrap();
    assert_eq!((accepted.verified, accepted.coverage), (index.0, Coverage::Index));
    assert!(!judge(&signer.requirement(""), "example.com/a:1", &source, &[]).is_accepted());
    // Stored beside the instance, it is for another digest.
    let source = Memory::signed(&[signature]);
    assert!(!judge(&signer.requirement(""), "example.com/a:1", &source, &[index]).is_accepted());
}

#[test]
fn keys_that_cannot_be_used_refuse() {
    let signer = Signer::new();
    let source = Memory::signed(&[signer.sign_payload(Digest::of(MANIFEST), "example.com/a:1")]);
    for (requirement, wanted) in [
        (r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/nonexistent"}"#.to_owned(), "cannot read /nonexistent"),
        (r#"{"type":"signedBy","keyType":"GPGKeys","keyData":"YQ=="}"#.to_owned(), "no public key can be read"),
        (signer.requirement("").replace("GPGKeys", "X509Certificates"), "X509Certificates is not supported"),
        (signer.requirement("").replace("GPGKeys", "signedByGPGKeys"), "signedByGPGKeys is not supported"),
        (r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#.to_owned(), "signedBaseLayer"),
    ] {
        let reason = refusal(judge(&requirement, "example.com/a:1", &source, &[]));
        assert!(reason.contains(wanted), "{reason}");
    }
    let both = format!("{},{}", signer.requirement(""), r#"{"type":"reject"}"#);
    let verdict = judge(&both, "example.com/a:1", &source, &[]);
    assert_eq!(verdict.judgements.len(), 2);
    assert!(refusal(verdict).contains("reject"));
}
