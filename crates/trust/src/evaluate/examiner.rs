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

use super::list::List;
use super::targets::{Target, Targets};

/// A source that is asked once for each list.
pub(super) struct Cached<'a> {
    source: &'a dyn SignatureSource,
    signatures: Memory<'a, Signature>,
    bundles: Memory<'a, StoredBundle>,
    further: Memory<'a, StoredBundle>,
}

type Memory<'a, T> = RefCell<HashMap<Digest, Result<Rc<List<'a, T>>, String>>>;

impl<'a> Cached<'a> {
    pub(super) fn new(source: &'a dyn SignatureSource) -> Self {
        let (signatures, bundles, further) = Default::default();
        Self { source, signatures, bundles, further }
    }

    fn signatures(&self, of: &Digest) -> Found<'a, Signature> {
        remembered(&self.signatures, of, || self.source.signatures(of).map(List::of))
    }

    fn bundles(&self, of: &Digest) -> Found<'a, StoredBundle> {
        remembered(&self.bundles, of, || self.source.bundles(of).map(List::new))
    }

    fn further(&self, of: &Digest) -> Found<'a, StoredBundle> {
        remembered(&self.further, of, || self.source.further_bundles(of).map(List::new))
    }
}

type Found<'a, T> = Result<Rc<List<'a, T>>, SourceError>;

fn remembered<'a, T: 'a>(
    memory: &Memory<'a, T>,
    of: &Digest,
    ask: impl FnOnce() -> Result<List<'a, T>, SourceError>,
) -> Found<'a, T> {
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
pub(super) struct Examiner<'a, 's> {
    targets: &'a Targets<'a>,
    source: &'a Cached<'s>,
    pub(super) now: SystemTime,
    examined: Vec<Examined>,
    failures: Vec<SourceFailure>,
}

/// A list of signatures to examine.
struct Batch<'a, 's, T> {
    target: Target<'a>,
    found: Found<'s, T>,
    /// The most that are checked.
    limit: usize,
    /// The number of signatures of the document before this list.
    before: usize,
}

impl<'a, 's> Examiner<'a, 's> {
    pub(super) fn new(targets: &'a Targets<'a>, source: &'a Cached<'s>, now: SystemTime) -> Self {
        Self { targets, source, now, examined: Vec::new(), failures: Vec::new() }
    }

    /// Returns the documents whose signatures count: the manifest, then the indexes, the nearest first.
    pub(super) fn targets(&self) -> impl DoubleEndedIterator<Item = Target<'a>> + use<'a> {
        self.targets.iter()
    }

    /// Returns the first signature in a form of containers/image that `check` accepts.
    pub(super) fn signatures(
        &mut self,
        check: impl Fn(&Signature, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        self.targets().find_map(|target| self.signatures_of(target, &check))
    }

    /// Returns the first signature of a document, in a form of containers/image, that `check` accepts.
    pub(super) fn signatures_of(
        &mut self,
        target: Target<'a>,
        check: impl Fn(&Signature, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        let found = self.source.signatures(&target.digest);
        self.first(Batch { target, found, limit: SIGNATURES_LIMIT, before: 0 }, kind, check)
    }

    /// Returns the first bundle of a document that `check` accepts.
    pub(super) fn bundles_of(
        &mut self,
        target: Target<'a>,
        check: impl Fn(&StoredBundle, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        let found = self.source.bundles(&target.digest);
        let batch = Batch { target, found, limit: BUNDLES_LIMIT, before: 0 };
        self.first(batch, |_| SignatureKind::Bundle, check)
    }

    /// Returns the first bundle that `check` accepts, of those that [`Self::bundles_of`] leaves out.
    pub(super) fn further_bundles_of(
        &mut self,
        target: Target<'a>,
        check: impl Fn(&StoredBundle, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        let before = self.source.bundles(&target.digest).map_or(0, |list| list.so_far().len());
        let found = self.source.further(&target.digest);
        let batch = Batch { target, found, limit: BUNDLES_LIMIT, before };
        self.first(batch, |_| SignatureKind::Bundle, check)
    }

    /// Returns the first signature of a list that `check` accepts.
    fn first<T: 's>(
        &mut self,
        batch: Batch<'a, 's, T>,
        kind: impl Fn(&T) -> SignatureKind,
        check: impl Fn(&T, &Target<'_>) -> Result<Accepted, String>,
    ) -> Option<Accepted> {
        let Batch { target, found, limit, before } = batch;
        let list = match found {
            Ok(list) => list,
            Err(error) => {
                self.failures.push(SourceFailure { of: target.digest, error });
                return None;
            }
        };
        for number in 0..=limit {
            let signature = match list.get(number)? {
                Ok(signature) => signature,
                Err(error) => {
                    self.failures.push(SourceFailure { of: target.digest, error });
                    return None;
                }
            };
            let result = match number == limit {
                true => Err(format!("it and those after it are beyond the limit of {limit}")),
                false => check(&signature, &target),
            };
            if let Some(accepted) = self.note(&target, kind(&signature), before + number, result) {
                return Some(accepted);
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
