//! The result of judging an image, with its reasons.

use std::fmt;
use std::path::PathBuf;

use vmroot_errors::ErrorKind;
use vmroot_model::Digest;

use crate::{Applicable, ImageToJudge, Requirement, Section, SourceError};

/// The result of judging an image by a policy.
#[derive(Debug)]
pub struct Verdict {
    /// The image, as the policy names it.
    pub image: String,
    /// The digest of the manifest that was judged.
    pub digest: Digest,
    /// The section of the policy that applied.
    pub section: Section,
    /// The file with the section, if it is in a file.
    pub file: Option<PathBuf>,
    /// The number of requirements of the section.
    pub requirements: usize,
    /// The requirements that were evaluated, in the order of the policy.
    pub judgements: Vec<Judgement>,
    /// The reason of a refusal. `None` if the image is accepted.
    pub refusal: Option<Refusal>,
}

/// A requirement, and what was found for it.
#[derive(Debug)]
pub struct Judgement {
    /// The requirement.
    pub requirement: Requirement,
    /// The outcome.
    pub outcome: Outcome,
    /// The signatures that were examined, in order. After one that is accepted, the rest is not examined.
    pub examined: Vec<Examined>,
    /// Errors of the places with signatures. Other places may have had an accepted signature nevertheless.
    pub failures: Vec<SourceFailure>,
}

/// The outcome of a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image meets it, by this signature if it needs one.
    Met(Option<Accepted>),
    /// The image does not meet it, for this reason.
    Refused(String),
}

/// A signature that was examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The document with which the signature is stored.
    pub of: Digest,
    /// The form of the signature.
    pub kind: SignatureKind,
    /// The position among the signatures or bundles of the document, from 1.
    pub number: usize,
    /// The accepted signature, or the reason of its refusal.
    pub result: Result<Accepted, String>,
}

/// The form of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureKind {
    /// An OpenPGP message.
    Simple,
    /// A layer of a sigstore attachment.
    Attachment,
    /// A sigstore bundle.
    Bundle,
    /// Neither of them.
    Other,
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple => "OpenPGP signature",
            Self::Attachment => "sigstore attachment",
            Self::Bundle => "sigstore bundle",
            Self::Other => "unknown signature",
        })
    }
}

/// A verified signature that meets a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The verified digest.
    pub verified: Digest,
    /// The document that has this digest.
    pub coverage: Coverage,
    /// The signer: the fingerprint of an OpenPGP key, the hint of a public key, or the identity of a certificate.
    pub signer: String,
    /// The signed name, if the signature has one.
    pub reference: Option<String>,
}

/// A verified statement about an image that is not a signature, such as its build or its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAttestation {
    /// The digest that the statement is about.
    pub verified: Digest,
    /// The document that has this digest.
    pub coverage: Coverage,
    /// The digest of the document that has the bundle.
    pub manifest: Digest,
    /// The type of the predicate.
    pub predicate_type: String,
    /// The signer: the hint of a public key, or the identity of a certificate.
    pub signer: String,
}

/// The document that a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// The manifest that was judged.
    Manifest,
    /// An index through which the manifest was found.
    Index,
}

/// An error of a place with signatures.
#[derive(Debug)]
pub struct SourceFailure {
    /// The document whose signatures were requested.
    pub of: Digest,
    /// The error.
    pub error: SourceError,
}

/// The reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The image's documents do not have their digests, or an index does not name the manifest.
    Image(String),
    /// A requirement is not met.
    Requirement {
        /// The position of the requirement in the section, from 0.
        position: usize,
        /// The reason.
        reason: String,
    },
    /// A signature is needed, and no requirement verifies one.
    NotSigned,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reason) => f.write_str(reason),
            Self::Requirement { reason, .. } => f.write_str(reason),
            Self::NotSigned => f.write_str("a signature is required, and the policy does not verify one"),
        }
    }
}

impl Verdict {
    /// Returns a verdict that accepts an image, before any requirement is evaluated.
    pub fn of(applicable: &Applicable<'_>, image: &ImageToJudge<'_>) -> Self {
        Self {
            image: image.identity.to_string(),
            digest: image.digest,
            section: applicable.section(),
            file: applicable.file.map(ToOwned::to_owned),
            requirements: applicable.requirements.len(),
            judgements: Vec::new(),
            refusal: None,
        }
    }

    /// Returns whether the policy accepts the image.
    pub fn is_accepted(&self) -> bool {
        self.refusal.is_none()
    }

    /// Returns the signatures by which requirements were met.
    pub fn accepted_signatures(&self) -> impl Iterator<Item = &Accepted> {
        self.met_by_signatures().map(|(_, accepted)| accepted)
    }

    /// Returns the requirements that were met by a signature, and the signatures.
    pub fn met_by_signatures(&self) -> impl Iterator<Item = (&Requirement, &Accepted)> {
        self.judgements.iter().filter_map(|judgement| match &judgement.outcome {
            Outcome::Met(accepted) => Some((&judgement.requirement, accepted.as_ref()?)),
            Outcome::Refused(_) => None,
        })
    }

    /// Returns the verdict if the image is accepted, and otherwise an error with it.
    ///
    /// # Errors
    /// [`Refused`] for an image that is not accepted.
    pub fn into_result(self) -> Result<Self, Refused> {
        if self.is_accepted() { Ok(self) } else { Err(Refused(Box::new(self))) }
    }
}

/// The error that an image is not accepted by a policy.
#[derive(Debug)]
pub struct Refused(pub Box<Verdict>);

impl Refused {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &*self.0;
        write!(f, "{} ({}) is refused by {}", verdict.image, verdict.digest, verdict.section)?;
        if let Some(file) = &verdict.file {
            write!(f, " of {}", file.display())?;
        }
        let name = match &verdict.refusal {
            Some(Refusal::Requirement { position, .. }) => verdict.judgements.get(*position),
            _ => None,
        };
        if let Some(judgement) = name {
            write!(f, ", {}", judgement.requirement.name())?;
        }
        verdict.refusal.as_ref().map_or(Ok(()), |refusal| write!(f, ": {refusal}"))
    }
}

impl std::error::Error for Refused {}
