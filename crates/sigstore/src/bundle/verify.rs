//! Verifies bundles.

use super::{
    Bundle, BundleTrust, Content, Material, Signer, TimeSource, VerifiedBundle, VerifiedMessage, VerifiedTime,
};
use crate::attachment::KEYS_LIMIT;
use crate::certificate::{Candidates, Certificate, Usage};
use crate::error::{Error, Result, at_most};
use crate::keys::PublicKey;
use crate::log::{Logged, expect_bound};
use crate::statement::{STATEMENT_MEDIA_TYPE, Statement, pre_authentication_encoding};
use crate::trusted_root::TrustedRoot;
use crate::{sct, timestamp};

pub(super) fn statement(bundle: &Bundle, trust: &BundleTrust<'_>, now: i64) -> Result<VerifiedBundle> {
    let Content::Envelope { payload, payload_type, signature } = &bundle.content else {
        return Err(Error::Material("the bundle signs a message, not a statement"));
    };
    if payload_type != STATEMENT_MEDIA_TYPE {
        return Err(Error::Statement(format!("the type of its payload is {payload_type:.100?}")));
    }
    let message = pre_authentication_encoding(payload_type, payload);
    let logged = Logged { message: &message, payload: Some(payload), signature };
    let (signer, times) = authenticate(bundle, trust, &logged, now)?;
    Ok(VerifiedBundle { statement: Statement::parse(payload)?, payload: payload.clone(), signer, times })
}

pub(super) fn message(bundle: &Bundle, trust: &BundleTrust<'_>, message: &[u8], now: i64) -> Result<VerifiedMessage> {
    let Content::Message { digest, signature } = &bundle.content else {
        return Err(Error::Material("the bundle signs a statement, not a message"));
    };
    if digest.as_ref().is_some_and(|(hash, digest)| hash.of(message) != *digest) {
        return Err(Error::Signature("a message of this digest"));
    }
    let logged = Logged { message, payload: None, signature };
    let (signer, times) = authenticate(bundle, trust, &logged, now)?;
    Ok(VerifiedMessage { signer, times })
}

fn authenticate(
    bundle: &Bundle,
    trust: &BundleTrust<'_>,
    logged: &Logged<'_>,
    now: i64,
) -> Result<(Signer, Vec<VerifiedTime>)> {
    match (trust, &bundle.material) {
        (BundleTrust::Keys { keys, log }, Material::Key) => {
            at_most(keys.len(), KEYS_LIMIT, "keys", "KEYS_LIMIT")?;
            let key = keys.iter().find(|key| key.verify_bundle(logged.message, logged.signature));
            let key = key.ok_or(Error::Signature("any of the keys"))?;
            let times = match log {
                Some(root) => proven_times(bundle, root, logged, key.to_der(), now)?,
                None => Vec::new(),
            };
            Ok((Signer::Key(PublicKey::clone(key)), times))
        }
        (BundleTrust::Certificates { root, identity }, Material::Certificate(certificate)) => {
            let key = certificate.public_key()?;
            if !key.verify_bundle(logged.message, logged.signature) {
                return Err(Error::Signature("the key of its certificate"));
            }
            let times = proven_times(bundle, root, logged, certificate.to_der(), now)?;
            expect_trusted(certificate, root, &times)?;
            identity.expect(certificate)?;
            Ok((Signer::Certificate(certificate.clone()), times))
        }
        (BundleTrust::Keys { .. }, Material::Certificate(_)) => {
            Err(Error::Material("the bundle has a certificate, and only keys are accepted"))
        }
        (BundleTrust::Certificates { .. }, Material::Key) => {
            Err(Error::Material("the bundle is signed with a key, and only certificates are accepted"))
        }
    }
}

/// Verifies the entries of logs and the timestamps, and returns the times that they prove.
///
/// An entry of an unknown log does not count. A wrong entry of a trusted log refuses the bundle.
fn proven_times(
    bundle: &Bundle,
    root: &TrustedRoot,
    logged: &Logged<'_>,
    material: &[u8],
    now: i64,
) -> Result<Vec<VerifiedTime>> {
    let stamped = timestamp::proven(&bundle.timestamps, root, logged.signature);
    let stamps = stamped.as_deref().unwrap_or_default();
    let mut times: Vec<_> =
        stamps.iter().map(|seconds| VerifiedTime { source: TimeSource::TimeStamper, seconds: *seconds }).collect();
    let mut logs: Vec<&[u8]> = Vec::new();
    for entry in &bundle.entries {
        let Some(log) = root.logs.iter().find(|log| entry.is_of(log)) else { continue };
        let time = entry.verify(log, stamps, now)?;
        expect_bound(entry, logged, material)?;
        if !logs.contains(&log.id.as_slice()) {
            logs.push(&log.id);
            times.extend(time.map(|seconds| VerifiedTime { source: TimeSource::Log, seconds }));
        }
    }
    if logs.is_empty() {
        return Err(Error::Log("the bundle has no entry of a trusted log".to_owned()));
    }
    match stamped {
        // A time stamper that fails does not matter beside the time of a log, but explains why there is no time.
        Err(error) if times.is_empty() => Err(error),
        _ => Ok(times),
    }
}

/// Checks that a certificate was trusted at each of the times, and that a log of certificates has it.
fn expect_trusted(certificate: &Certificate, root: &TrustedRoot, times: &[VerifiedTime]) -> Result<()> {
    if times.is_empty() {
        return Err(Error::Timestamp("the bundle has neither a log's promise nor a trusted timestamp".to_owned()));
    }
    for time in times {
        let chain = chain_at(certificate, root, time.seconds)?;
        let issuer = chain.get(1).ok_or_else(|| Error::Certificate("it has no issuer".to_owned()))?;
        sct::expect(certificate, issuer, root)?;
    }
    Ok(())
}

fn chain_at(certificate: &Certificate, root: &TrustedRoot, time: i64) -> Result<Vec<Certificate>> {
    let mut reason = Error::Certificate("no authority was trusted at the time of the signature".to_owned());
    for authority in root.authorities.iter().filter(|authority| authority.valid.contains(time)) {
        let Some((anchor, intermediates)) = authority.chain.split_last() else { continue };
        let candidates = Candidates { anchors: std::slice::from_ref(anchor), intermediates };
        match candidates.chain(certificate, time, Usage::CodeSigning) {
            Ok(chain) => return Ok(chain),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}
