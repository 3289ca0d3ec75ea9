//! Policies: which requirements apply to which image (containers-policy.json(5)).

mod parse;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use vmroot_signatures::{
    Applicable, EvaluationOptions, ImageIdentity, ImageToJudge, Judge, Requirement, SignatureSource, Verdict,
    VerifiedAttestation,
};

use crate::{Error, Result, evaluate, verified_attestations};

/// The largest policy in bytes.
pub const POLICY_LIMIT: usize = 4 << 20;

/// The requirements on images, by transport and scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    default: Option<Vec<Requirement>>,
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
    /// The file, for messages.
    path: Option<PathBuf>,
    /// A policy that is asked first.
    overlay: Option<Box<Self>>,
}

impl Policy {
    /// Parses a `policy.json`.
    ///
    /// # Errors
    /// - [`Error::Policy`] for JSON with an unknown, repeated or missing member, an empty list, a value that is not
    ///   allowed, or a policy without `default`.
    /// - [`Error::PolicyTooLarge`] for more than [`POLICY_LIMIT`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let policy = parse::policy(bytes, None)?;
        match policy.default {
            Some(_) => Ok(policy),
            None => Err(Error::Policy { path: None, reason: "\"default\" is missing".to_owned() }),
        }
    }

    /// Parses a policy that is asked before another one. It has the form of a `policy.json`, and may lack `default`.
    ///
    /// # Errors
    /// Those of [`Self::parse`], except for the missing `default`.
    pub fn parse_overlay(bytes: &[u8]) -> Result<Self> {
        parse::policy(bytes, None)
    }

    /// Reads a `policy.json`.
    ///
    /// # Errors
    /// - [`Error::Io`] for a file that cannot be read.
    /// - The errors of [`Self::parse`], with the path.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_limited(path)?).map(|policy| policy.named(path)).map_err(|error| with_path(error, path))
    }

    /// Reads a policy that is asked before another one.
    ///
    /// # Errors
    /// Those of [`Self::read`], except for the missing `default`.
    pub fn read_overlay(path: &Path) -> Result<Self> {
        Self::parse_overlay(&read_limited(path)?)
            .map(|policy| policy.named(path))
            .map_err(|error| with_path(error, path))
    }

    /// Reads the first of several files that exists, or returns `None` if none of them exists.
    ///
    /// # Errors
    /// The errors of [`Self::read`] for the first file that exists.
    pub fn find(paths: &[PathBuf]) -> Result<Option<Self>> {
        for path in paths {
            match Self::read(path) {
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                // Another user's home directory. A file that is there and cannot be read is an error.
                Err(Error::Io { .. }) if is_hidden(path) => {}
                result => return result.map(Some),
            }
        }
        Ok(None)
    }

    /// Returns the policy that every image meets.
    pub fn insecure() -> Self {
        let default = Some(vec![Requirement::InsecureAcceptAnything]);
        Self { default, transports: BTreeMap::new(), path: None, overlay: None }
    }

    /// Returns this policy, with another one that is asked first. The sections of `overlay` replace those of this
    /// policy: if one applies to an image, this policy is not asked.
    #[must_use]
    pub fn with_overlay(self, overlay: Self) -> Self {
        Self { overlay: Some(Box::new(overlay)), ..self }
    }

    /// Returns whether the policy accepts every image, with any name.
    pub fn accepts_everything(&self) -> bool {
        let is_open = |requirements: &Vec<Requirement>| {
            requirements.iter().all(|requirement| *requirement == Requirement::InsecureAcceptAnything)
        };
        self.default.as_ref().is_some_and(is_open)
            && self.transports.values().flat_map(BTreeMap::values).all(is_open)
            && self.overlay.as_deref().is_none_or(|overlay| {
                overlay.default.iter().all(is_open)
                    && overlay.transports.values().flat_map(BTreeMap::values).all(is_open)
            })
    }

    /// Returns the file that the policy was read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the requirements on an image: those of its identity in its transport, else of the namespaces, the most
    /// specific first, else of the scope `""`, else the default ones.
    pub fn requirements(&self, image: &ImageIdentity) -> Applicable<'_> {
        let overlay = self.overlay.as_deref().and_then(|overlay| overlay.find_section(image));
        overlay.or_else(|| self.find_section(image)).unwrap_or(Applicable {
            scope: None,
            file: self.path(),
            // An overlay that is used alone accepts nothing that it does not name.
            requirements: &[Requirement::Reject],
        })
    }

    fn find_section(&self, image: &ImageIdentity) -> Option<Applicable<'_>> {
        let in_transport = self.transports.get_key_value(image.transport()).and_then(|(transport, scopes)| {
            let names = std::iter::once(image.identity()).chain(image.namespaces().iter().map(String::as_str));
            let (scope, requirements) = names.chain([""]).find_map(|name| scopes.get_key_value(name))?;
            Some(Applicable { scope: Some((transport, scope)), file: self.path(), requirements })
        });
        let default = || {
            let requirements = self.default.as_deref()?;
            Some(Applicable { scope: None, file: self.path(), requirements })
        };
        in_transport.or_else(default)
    }

    fn named(self, path: &Path) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }
}

impl Judge for Policy {
    fn requirements(&self, image: &ImageIdentity) -> Applicable<'_> {
        self.requirements(image)
    }

    fn accepts_everything(&self) -> bool {
        self.accepts_everything()
    }

    fn judge(&self, image: &ImageToJudge<'_>, source: &dyn SignatureSource, options: &EvaluationOptions) -> Verdict {
        evaluate(self, image, source, options)
    }

    fn attestations(
        &self,
        image: &ImageToJudge<'_>,
        source: &dyn SignatureSource,
        now: SystemTime,
    ) -> std::result::Result<Vec<VerifiedAttestation>, String> {
        verified_attestations(self, image, source, now)
    }
}

/// Returns whether this user may not look for the file.
fn is_hidden(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(POLICY_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn with_path(error: Error, path: &Path) -> Error {
    match error {
        Error::Policy { reason, .. } => Error::Policy { path: Some(path.to_owned()), reason },
        Error::PolicyTooLarge { limit, .. } => Error::PolicyTooLarge { path: Some(path.to_owned()), limit },
        other => other,
    }
}
