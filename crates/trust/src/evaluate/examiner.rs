//! Examining the signatures of an image one after the other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use vmroot_model::Digest;

use crate::{
    Accepted, BUNDLES_LIMIT, Examined, SIGNATURES_LIMIT, Signature, SignatureKind, SignatureSource, SourceError,
    SourceFailure, StoredBundle,
};

use super::targets::{Target, Targets};

/// A source that is asked once for each digest.
pub(super) struct Cached<'a> {
    source: &'a dyn SignatureSource,
    signatures: Memory<Signature>,
    bundles: Memory<StoredBundle>,
}

type Memory<T> = RefCell<HashMap<Digest, Result<Rc<Vec<T>>, String>>>;

impl<'a> Cached<'a> {
    pub(super) fn new(source: &'a dyn SignatureSource) -> Self {
        Self { source, signatures: Memory::default(), bundles: Memory::default() }
    }

    fn signatures(&self, of: &Digest) -> Result<Rc<Vec<Signature>>, SourceError> {
        remembered(&self.signatures, of, || self.source.signatures(of))
    }

    fn bundles(&self, of: &Digest) -> Result<Rc<Vec<StoredBundle>>, SourceError> {
        remembered(&self.bundles, of, || self.source.bundles(of))
    }
}

fn remembered<T>(
    memory: &Memory<T>,
    of: &Digest,
    ask: impl FnOnce() -> Result<Vec<T>, SourceError>,
) -> Result<Rc<Vec<T>>, SourceError> {
    if let Some(known) = memory.borrow().get(of) {
        return known.clone().map_err(Into::into);
    }
    let answer = ask().map(Rc::new);
    let kept = match &answer {
        Ok(list) => Ok(Rc::clone(list)),
        Err(error) => Err(error.to_string()),
    };
    memory.borrow_mut().insert(*of, kept);
    answer
}

/// Examines the signatures of an image for one requirement, and remembers the results.
pub(super) struct Examiner<'a> {
    targets: &'a Targets<'a>,
    source: &'a Cached<'a>,
    pub(super) now: SystemTime,
    examined: Vec<Examined>,
    failures: Vec<SourceFailure>,
}

impl<'a> Examiner<'a> {
    pub(super) fn new(targets: &'a Targets<'a>, source: &'a Cached<'a>, now: SystemTime) -> Self {
        Self { targets, source, now, examined: Vec::new(), failures: Vec::new() }
    }

    /// Returns the first signature in a form of containers/image that `check` accepts.
    pub(super) fn signatures(
        &mut self,
        check: impl Fn(&Signature, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        let source = self.source;
        self.first(SIGNATURES_LIMIT, |of| source.signatures(of), kind, check)
    }

    /// Returns the first bundle that `check` accepts.
    pub(super) fn bundles(
        &mut self,
        check: impl Fn(&StoredBundle, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        let source = self.source;
        self.first(BUNDLES_LIMIT, |of| source.bundles(of), |_| SignatureKind::Bundle, check)
    }

    /// Returns the first of the signatures that `read` returns for the targets and that `check` accepts. At most `limit`
    /// of each target are checked.
    fn first<T>(
        &mut self,
        limit: usize,
        read: impl Fn(&Digest) -> Result<Rc<Vec<T>>, SourceError>,
        kind: impl Fn(&T) -> SignatureKind,
        check: impl Fn(&T, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        for target in self.targets.iter() {
            let list = match read(&target.digest) {
                Ok(list) => list,
                Err(error) => {
                    self.failures.push(SourceFailure { of: target.digest, error });
                    continue;
                }
            };
            for (number, signature) in list.iter().enumerate() {
                let result = match number == limit {
                    true => Err(format!("it and those after it are beyond the limit of {limit}")),
                    false => check(signature, &target),
                };
                if let Some(accepted) = self.note(&target, kind(signature), number, result) {
                    return Some(accepted);
                }
                if number == limit {
                    break;
                }
            }
        }
        None
    }

    fn note(
        &mut self,
        target: &Target<'_>,
        kind: SignatureKind,
        number: usize,
        result: Result<Accepted, String>,
    ) -> Option<Accepted> {
        let accepted = result.as_ref().ok().cloned();
        self.examined.push(Examined { of: target.digest, kind, number: number + 1, result });
        accepted
    }

    /// Returns why no signature was accepted.
    pub(super) fn refusal(&self) -> String {
        let refused = self.examined.iter().filter_map(|examined| examined.result.as_ref().err());
        let failures = self.failures.iter().map(|failure| failure.error.to_string());
        let mut reasons: Vec<String> = refused.cloned().chain(failures).collect();
        match reasons.len() {
            0 => "a signature is required, and the image has none".to_owned(),
            1 => reasons.remove(0),
            count => {
                // All of them are in the verdict.
                reasons.truncate(3);
                let rest = if count > 3 { "; …" } else { "" };
                format!("none of the signatures is accepted: {}{rest}", reasons.join("; "))
            }
        }
    }

    pub(super) fn into_parts(self) -> (Vec<Examined>, Vec<SourceFailure>) {
        (self.examined, self.failures)
    }
}

fn kind(signature: &Signature) -> SignatureKind {
    match signature {
        Signature::Simple(_) => SignatureKind::Simple,
        Signature::Sigstore { .. } => SignatureKind::Attachment,
        Signature::Unreadable { .. } => SignatureKind::Other,
    }
}
