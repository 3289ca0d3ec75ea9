//! Authorities and signers' certificates, made by OpenSSL, and a log's promises.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2_of_keys::{Digest as _, Sha256};
use vmroot_sigstore::{Certificate, PrivateKey, PublicKey};

use crate::openssl::OpenSsl;

/// 2030-01-01T00:00:00Z. Certificates of the tests are valid around it, so no clock matters.
pub(crate) const TIME: i64 = 1_893_456_000;
pub(crate) const ISSUER: &str = "https://accounts.example.com";
pub(crate) const EMAIL: &str = "signer@example.com";

pub(crate) fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A directory with certificates that sign each other.
pub(crate) struct Authorities {
    pub(crate) openssl: OpenSsl,
}

/// The extensions of a certificate, one a line, in the syntax of OpenSSL's configuration.
pub(crate) const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign";
pub(crate) const SIGNER: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n\
                                 subjectAltName=critical,email:signer@example.com\n\
                                 1.3.6.1.4.1.57264.1.1=DER:68:74:74:70:73:3a:2f:2f:61:63:63:6f:75:6e:74:73:2e:65:78:61:\
                                 6d:70:6c:65:2e:63:6f:6d\n1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:https\\://accounts.example.com";

impl Authorities {
    pub(crate) fn new() -> Self {
        Self { openssl: OpenSsl::new() }
    }

    /// Makes a certificate `name.pem` with the key `name.key`. `issuer` is the name of another one, or the same name.
    /// It is valid from 2029 to 2031.
    pub(crate) fn issue(&self, name: &str, issuer: &str, extensions: &str) -> Certificate {
        self.issue_for(name, issuer, extensions, "290101000000Z", "310101000000Z");
        Certificate::from_pem(&self.openssl.read(&format!("{name}.pem"))).unwrap()
    }

    pub(crate) fn issue_for(&self, name: &str, issuer: &str, extensions: &str, from: &str, to: &str) {
        let openssl = &self.openssl;
        if !openssl.path(&format!("{name}.key")).exists() {
            openssl.run(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"));
        }
        openssl.run(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        let config = "[ca]\ndatabase=database\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=policy\n\
                      unique_subject=no\n[policy]\ncommonName=supplied\n";
        openssl.write("config", format!("{config}[extensions]\n{extensions}\n"));
        openssl.write("database", "");
        let signer = if name == issuer { "-selfsign".to_owned() } else { format!("-cert {issuer}.pem") };
        openssl.run(&format!(
            "ca -batch -name ca -config config -rand_serial -extensions extensions -startdate 20{from} -enddate 20{to} -notext \
             -keyfile {issuer}.key {signer} -in {name}.csr -out {name}.pem"
        ));
    }

    pub(crate) fn pem(&self, name: &str) -> String {
        String::from_utf8(self.openssl.read(&format!("{name}.pem"))).unwrap()
    }

    pub(crate) fn key(&self, name: &str) -> PrivateKey {
        PrivateKey::read(&self.openssl.read(&format!("{name}.key")), None).unwrap()
    }
}

/// A log that promises to include every entry.
pub(crate) struct Rekor {
    pub(crate) key: PrivateKey,
}

impl Rekor {
    pub(crate) fn new() -> Self {
        Self { key: PrivateKey::generate() }
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.public().clone()
    }

    /// Returns the annotation for a payload. `material` is the PEM of the key or certificate.
    pub(crate) fn promise(&self, payload: &[u8], signature: &str, material: &str, time: i64) -> String {
        let digest: String = Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": digest}},
                "signature": {"content": signature, "publicKey": {"content": base64(material)}},
            },
        });
        self.promise_of(&body, time)
    }

    pub(crate) fn promise_of(&self, body: &Value, time: i64) -> String {
        let id: String = Sha256::digest(self.key.public().to_der()).iter().map(|byte| format!("{byte:02x}")).collect();
        let (body, index) = (base64(body.to_string()), 7);
        // Its members are in the canonical order, and no text in it needs an escape.
        let canonical = format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#);
        let signature = base64(self.key.sign(canonical.as_bytes()));
        format!(r#"{{"SignedEntryTimestamp":"{signature}","Payload":{canonical}}}"#)
    }
}
