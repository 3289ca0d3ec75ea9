//! Entries of transparency logs: inclusion proofs, checkpoints, promises, and the signature that an entry is about.

mod binding;
mod checkpoint;
mod inclusion;

use serde_json::Value;

use crate::attachment::promise::Entry;
use crate::encoding::{either, to_hex, to_standard};
use crate::error::{Error, Result, at_most};
use crate::strict_json::{self, Object};
use crate::trusted_root::TrustedLog;

pub(crate) use binding::{Logged, expect_bound};

/// The largest number of hashes in a proof. A log of 2^63 entries needs fewer.
pub const PROOF_HASHES_LIMIT: usize = 64;

/// An entry of a log.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry {
    log_id: Vec<u8>,
    log_index: i64,
    kind: String,
    version: String,
    integrated_time: i64,
    promise: Option<Vec<u8>>,
    proof: Proof,
    body: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Proof {
    index: u64,
    size: u64,
    root: Vec<u8>,
    hashes: Vec<Vec<u8>>,
    checkpoint: String,
}

impl LogEntry {
    pub(crate) fn read(mut entry: Object) -> Result<Self> {
        let log_index = integer(&mut entry, "logIndex")?;
        let log_id = bytes(entry.object("logId")?, "keyId")?;
        let mut kind_version = entry.object("kindVersion")?.without_nulls();
        let (kind, version) = (kind_version.string("kind")?, kind_version.string("version")?);
        kind_version.finish()?;
        let integrated_time = integer(&mut entry, "integratedTime")?;
        let promise = entry.optional_object("inclusionPromise")?.map(Object::without_nulls);
        let promise = promise.map(|promise| bytes(promise, "signedEntryTimestamp")).transpose()?;
        let proof = Proof::read(entry.object("inclusionProof")?.without_nulls())?;
        let body = either(&entry.string("canonicalizedBody")?, "body of the log's entry")?;
        entry.finish()?;
        if log_index < 0 || integrated_time < 0 {
            return Err(Error::malformed("entry of the log", "a number is negative"));
        }
        Ok(Self { log_id, log_index, kind, version, integrated_time, promise, proof, body })
    }

    pub(crate) fn is_of(&self, log: &TrustedLog) -> bool {
        self.log_id == log.id
    }

    /// Returns whether the entry is one of Rekor v2.
    fn is_version_2(&self) -> bool {
        self.kind == "hashedrekord" && self.version == "0.0.2"
    }

    /// Verifies that the log has the entry, and returns the time of the log's promise if there is one.
    ///
    /// The log must have been trusted at that time, or else at one of `stamps`, in seconds since 1970.
    pub(crate) fn verify(&self, log: &TrustedLog, stamps: &[i64], now: i64) -> Result<Option<i64>> {
        let proof = &self.proof;
        inclusion::verify(&self.body, proof.index, proof.size, &proof.hashes, &proof.root)?;
        checkpoint::verify(&proof.checkpoint, log, self.is_version_2(), proof.size, &proof.root)?;
        let Some(promise) = &self.promise else {
            let was_trusted = stamps.is_empty() && log.valid.contains(now);
            if was_trusted || stamps.iter().any(|time| log.valid.contains(*time)) {
                return Ok(None);
            }
            return Err(Error::Log("the log was not trusted at that time".to_owned()));
        };
        let entry = Entry {
            body: to_standard(&self.body),
            integrated_time: self.integrated_time,
            log_index: self.log_index,
            log_id: to_hex(&self.log_id),
        };
        if !entry.is_signed_by(&log.key, promise) {
            return Err(Error::Log("its promise does not verify".to_owned()));
        }
        if self.integrated_time > now {
            return Err(Error::Log("its promise is of the future".to_owned()));
        }
        if !log.valid.contains(self.integrated_time) {
            return Err(Error::Log("the log was not trusted at that time".to_owned()));
        }
        Ok(Some(self.integrated_time))
    }

    /// Returns the body, after a check that it is of the kind that the bundle says.
    fn parsed_body(&self) -> Result<Value> {
        let body = strict_json::parse(&self.body, "body of the log's entry", crate::bundle::BUNDLE_LIMIT)?;
        if body["kind"] != self.kind.as_str() || body["apiVersion"] != self.version.as_str() {
            return Err(Error::Log("its entry is of another kind than the bundle says".to_owned()));
        }
        Ok(body)
    }
}

impl Proof {
    fn read(mut proof: Object) -> Result<Self> {
        let unsigned = |number: i64| {
            u64::try_from(number).map_err(|_| Error::malformed("proof of inclusion", "a number is negative"))
        };
        let index = unsigned(integer(&mut proof, "logIndex")?)?;
        let size = unsigned(integer(&mut proof, "treeSize")?)?;
        let root = either(&proof.string("rootHash")?, "proof of inclusion")?;
        let hashes = proof.optional_strings("hashes")?.unwrap_or_default();
        at_most(hashes.len(), PROOF_HASHES_LIMIT, "proof of inclusion", "PROOF_HASHES_LIMIT")?;
        let hashes = hashes.iter().map(|hash| either(hash, "proof of inclusion")).collect::<Result<_>>()?;
        let mut checkpoint = proof.object("checkpoint")?.without_nulls();
        let envelope = checkpoint.string("envelope")?;
        checkpoint.finish()?;
        proof.finish()?;
        Ok(Self { index, size, root, hashes, checkpoint: envelope })
    }
}

/// Takes an integer that may be a text, as ProtoJSON writes those of 64 bits. An absent one is 0.
fn integer(object: &mut Object, name: &str) -> Result<i64> {
    let place = object.place_of(name);
    match object.take(name) {
        None => Some(0),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
    }
    .ok_or_else(|| strict_json::Error::Type { place, expected: "an integer" }.into())
}

fn bytes(object: Object, name: &str) -> Result<Vec<u8>> {
    let mut object = object.without_nulls();
    let bytes = either(&object.string(name)?, "entry of the log")?;
    object.finish()?;
    Ok(bytes)
}
