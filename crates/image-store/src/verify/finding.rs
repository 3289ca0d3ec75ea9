//! The result of a verification.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use vmroot_model::{Digest, Platform, Reference};

use crate::Record;

/// The number of images that a text names.
const NAMED_IMAGES: usize = 3;

/// The result of a verification of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The number of complete blobs.
    pub blobs: u64,
    /// The number of partial blobs. Their bytes are checked when they are complete.
    pub partials: u64,
    /// The number of layers, including those that records need and that are missing.
    pub layers: u64,
    /// The number of roots, as for layers.
    pub roots: u64,
    /// The number of valid records.
    pub records: u64,
    /// The number of files with metadata of images.
    pub metadata: u64,
    /// The bytes of the blobs, layers and roots that were read.
    pub bytes: u64,
    /// The faults, ordered by path.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Returns the number of findings in a state.
    pub fn count(&self, state: FindingState) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }

    /// Returns whether no damage is left.
    pub fn is_whole(&self) -> bool {
        self.findings.iter().all(Finding::is_settled)
    }
}

/// A fault of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The kind of file.
    pub kind: FileKind,
    /// The digest that names the file: of the blob, the diff id of the layer, the chain id of the root, or the id of the
    /// image. `None` for other files.
    pub digest: Option<Digest>,
    /// The fault, as in "has the digest sha256:…" or "is missing".
    pub problem: String,
    /// The condition of the file after the verification.
    pub state: FindingState,
    /// The action that was taken, or is to be taken.
    pub action: String,
    /// Advice to the user, if an image has lost a file.
    pub advice: Option<String>,
    /// The place of the file in the quarantine, if it was moved there.
    pub quarantined: Option<PathBuf>,
    /// The images that need the file.
    pub images: Vec<AffectedImage>,
}

/// The kind of a file of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileKind {
    /// A complete blob: a layer as fetched, a manifest, an index or a config.
    Blob,
    /// A partial blob.
    Partial,
    /// The index or the contents of a layer.
    Layer,
    /// The merged index of an image's root.
    Root,
    /// An image record.
    Record,
    /// Metadata of an image.
    Metadata,
    /// A transaction of image records.
    Journal,
    /// A file that does not belong to the store.
    Foreign,
}

/// The condition of a file after a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingState {
    /// The file is damaged or missing. It was not to be repaired, or a later repair may succeed.
    Damaged,
    /// The file is whole again.
    Repaired,
    /// The file was moved to the quarantine. No image needs it.
    Quarantined,
    /// The file cannot be repaired. A damaged one was moved to the quarantine.
    Lost,
}

/// An image that needs a damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AffectedImage {
    /// The name, if the image has one.
    pub reference: Option<Reference>,
    /// The id.
    pub id: Digest,
    /// The platform.
    pub platform: Platform,
    /// The archive, layout or directory that the image was loaded from; `None` for one from a registry.
    pub loaded_from: Option<String>,
}

impl FileKind {
    /// Returns the name of the kind in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Partial => "partial",
            Self::Layer => "layer",
            Self::Root => "root",
            Self::Record => "record",
            Self::Metadata => "metadata",
            Self::Journal => "journal",
            Self::Foreign => "foreign",
        }
    }
}

impl FindingState {
    /// Returns the name of the state in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Repaired => "repaired",
            Self::Quarantined => "quarantined",
            Self::Lost => "lost",
        }
    }
}

impl AffectedImage {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            reference: record.reference.clone(),
            id: *record.id(),
            platform: record.platform.clone(),
            loaded_from: record.loaded_from.clone(),
        }
    }

    /// Returns the name of the image, or its id.
    pub fn name(&self) -> String {
        self.reference.as_ref().map_or_else(|| self.id.to_string(), ToString::to_string)
    }
}

impl fmt::Display for AffectedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.platform)
    }
}

impl Finding {
    pub(super) fn new(path: impl Into<PathBuf>, kind: FileKind, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            kind,
            digest: None,
            problem: problem.into(),
            state: FindingState::Damaged,
            action: "`vmroot verify --repair` repairs it if possible".to_owned(),
            advice: None,
            quarantined: None,
            images: Vec::new(),
        }
    }

    pub(super) fn with_digest(self, digest: &Digest) -> Self {
        Self { digest: Some(*digest), ..self }
    }

    pub(super) fn with_images(self, images: Vec<AffectedImage>) -> Self {
        Self { images, ..self }
    }

    /// Returns whether the store lacks nothing because of this fault any more.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, FindingState::Repaired | FindingState::Quarantined)
    }

    pub(super) fn repaired(self, action: impl Into<String>) -> Self {
        Self { state: FindingState::Repaired, action: action.into(), ..self }
    }

    pub(super) fn unrepaired(self, action: impl Into<String>) -> Self {
        Self { state: FindingState::Damaged, action: action.into(), ..self }
    }

    pub(super) fn lost(self, action: impl Into<String>) -> Self {
        Self { state: FindingState::Lost, action: action.into(), ..self }
    }

    /// Returns the finding for a file that was moved to the quarantine, and that no image needs.
    pub(super) fn set_aside(self, to: Option<PathBuf>, reason: &str) -> Self {
        let action = format!("moved to the quarantine; {reason}");
        Self { state: FindingState::Quarantined, action, quarantined: to, ..self }
    }

    /// Returns the images as text, the first few by name.
    pub fn image_names(&self) -> String {
        let mut names: Vec<String> = self.images.iter().take(NAMED_IMAGES).map(ToString::to_string).collect();
        if self.images.len() > NAMED_IMAGES {
            names.push(format!("and {} more", self.images.len() - NAMED_IMAGES));
        }
        names.join(", ")
    }
}

/// Writes the finding as one line.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path.display(), self.state.name(), self.problem)?;
        write!(f, "; {}", self.action)?;
        if let Some(path) = &self.quarantined {
            write!(f, " ({})", path.display())?;
        }
        if !self.images.is_empty() {
            write!(f, "; needed by {}", self.image_names())?;
        }
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}
