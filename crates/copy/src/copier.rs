//! The copier: one copy from a source to a destination, and the state that several copies share.

use std::fmt;
use std::sync::Arc;

use vmroot_model::{AnyDocument, Descriptor, Digest, Document, MediaType, is_manifest_of};
use vmroot_transport::{ImageDestination, ImageSource, ManifestPlace};

use crate::ledger::{Key, Ledger, Permits, lock};
use crate::pace::Pace;
use crate::report::Tally;
use crate::signatures::Signatures;
use crate::{CopyOptions, CopyProgress, CopyReport, Error, LayerVariants, NoCopyProgress, Result, Selection};

/// The most layers that are compressed anew at once. Each uses all cores.
const RECOMPRESSIONS: usize = 2;

/// Copies images. Copies of one copier share its parallel transfers, and the blobs that it has written.
pub struct Copier {
    pub(crate) options: CopyOptions,
    pub(crate) progress: Arc<dyn CopyProgress>,
    pub(crate) ledger: Ledger,
    pub(crate) permits: Permits,
    pub(crate) pace: Arc<Pace>,
    /// Permits for compressing layers anew. Each takes many threads and much memory.
    pub(crate) recompressions: Permits,
    /// The compressed forms of layers that earlier copies have written.
    pub(crate) variants: Option<Arc<LayerVariants>>,
}

/// One copy.
pub(crate) struct Job<'a> {
    pub(crate) copier: &'a Copier,
    pub(crate) source: &'a dyn ImageSource,
    pub(crate) destination: &'a dyn ImageDestination,
    pub(crate) tally: Arc<Tally>,
    pub(crate) signatures: Signatures,
}

impl Copier {
    /// Creates a copier.
    pub fn new(options: CopyOptions) -> Self {
        let permits = Permits::new(options.parallel);
        let recompressions = Permits::new(RECOMPRESSIONS);
        let (ledger, pace) = (Ledger::default(), Arc::new(Pace::new()));
        Self { options, progress: Arc::new(NoCopyProgress), ledger, permits, pace, recompressions, variants: None }
    }

    /// Returns the copier with another receiver of progress.
    #[must_use]
    pub fn with_progress(self, progress: Arc<dyn CopyProgress>) -> Self {
        Self { progress, ..self }
    }

    /// Returns the copier with a record of compressed layers. A layer is then not compressed again if the destination
    /// has a form of it with the wanted compression. The level may differ.
    #[must_use]
    pub fn with_variants(self, variants: Arc<LayerVariants>) -> Self {
        Self { variants: Some(variants), ..self }
    }

    /// Returns the options.
    pub fn options(&self) -> &CopyOptions {
        &self.options
    }

    /// Copies the image, the list or the artifact of a source to a destination, and commits it.
    ///
    /// # Errors
    /// - [`Error::Source`] and [`Error::Blob`]: the source cannot be read.
    /// - [`Error::Destination`]: the destination cannot be written.
    /// - [`Error::Refused`]: the destination takes no form of the image.
    /// - [`Error::Document`]: a document is invalid, has no image for the platform, or cannot be converted.
    /// - [`Error::MustNotChange`]: the destination does not take the image as it is, and it must not change.
    /// - [`Error::Compress`] and [`Error::DiffId`]: a layer is damaged.
    /// - [`Error::Encryption`]: a layer cannot be encrypted or decrypted.
    /// - [`Error::NoLayer`]: an image lacks a layer that should be encrypted.
    /// - [`Error::Cancelled`]: the caller cancelled the copy.
    pub fn copy(&self, source: &dyn ImageSource, destination: &dyn ImageDestination) -> Result<CopyReport> {
        let job = Job { copier: self, source, destination, tally: Arc::default(), signatures: Signatures::default() };
        source.notes().into_iter().for_each(|note| job.tally.lose(note));
        let (digest, top) = match job.read_top()? {
            AnyDocument::Manifest(manifest) => (*manifest.digest(), Document::Manifest(manifest)),
            AnyDocument::Index(index) => (*index.digest(), Document::Index(index)),
            AnyDocument::Schema1(image) => {
                job.prepare(image.raw(), image.digest(), ManifestPlace::Top)?;
                let copied = job.copy_schema1(&image)?;
                job.put_signatures(image.digest(), &copied, ManifestPlace::Top)?;
                return job.finish(copied, *image.digest());
            }
        };
        job.check_platforms(&top)?;
        let Some(present) = job.find_present(&top)? else { return job.finish(job.copy_top(top)?, digest) };
        let referrers = job.copy_referrers(&[present.digest])?;
        if !referrers.is_empty() {
            job.commit()?;
        }
        let mut report = job.tally.report(present, digest);
        report.was_present = true;
        report.referrers = referrers;
        Ok(report)
    }
}

impl fmt::Debug for Copier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copier").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A copied document.
pub(crate) struct Copied {
    /// The document in the destination.
    pub(crate) descriptor: Descriptor,
    /// The documents that have the same digest in the source and the destination.
    pub(crate) unchanged: Vec<Digest>,
}

impl Copied {
    /// Returns whether the document itself has the same digest in the source and the destination.
    pub(crate) fn is_same(&self) -> bool {
        self.unchanged.contains(&self.descriptor.digest)
    }
}

impl Job<'_> {
    pub(crate) fn options(&self) -> &CopyOptions {
        &self.copier.options
    }

    /// Copies the referrers of a copied image, and commits everything.
    fn finish(&self, copied: Copied, source: Digest) -> Result<CopyReport> {
        let referrers = self.copy_referrers(&copied.unchanged)?;
        self.commit()?;
        let mut report = self.tally.report(copied.descriptor, source);
        report.referrers = referrers;
        Ok(report)
    }

    fn commit(&self) -> Result<()> {
        if self.options().dry_run {
            return Ok(());
        }
        self.destination.commit().map_err(|error| self.destination_error(error))
    }

    /// Reads the document that the source's name refers to.
    fn read_top(&self) -> Result<AnyDocument> {
        self.options().cancel.check()?;
        let raw = self.source.manifest(None).map_err(|error| self.source_error(error))?;
        AnyDocument::parse(raw.bytes, raw.media_type.as_deref()).map_err(|error| self.document_error(error))
    }

    /// Reads the document of a descriptor.
    pub(crate) fn read_document(&self, descriptor: &Descriptor) -> Result<Document> {
        self.options().cancel.check()?;
        let raw = self.source.read_manifest(descriptor).map_err(|error| self.source_error(error))?;
        let stated = raw.media_type.or(Some(descriptor.media_type.to_string()).filter(|it| !it.is_empty()));
        self.parse(raw.bytes, stated.as_deref())
    }

    fn parse(&self, bytes: Vec<u8>, media_type: Option<&str>) -> Result<Document> {
        Document::parse(bytes, media_type).map_err(|error| self.document_error(error))
    }

    /// Returns the image in the destination, if it is the one of the source and the options ask for no change.
    fn find_present(&self, top: &Document) -> Result<Option<Descriptor>> {
        let options = self.options();
        if options.change_images() || !options.signers.is_empty() {
            return Ok(None);
        }
        let (wanted, instances) = match (top, &options.selection) {
            (Document::Manifest(manifest), _) => (manifest.descriptor(), Vec::new()),
            // The image may be in a nested list.
            (Document::Index(index), Selection::Platform(platform)) => match index.choose_instance(platform, false) {
                Ok(instance) => (instance.clone(), Vec::new()),
                Err(_) => return Ok(None),
            },
            (Document::Index(index), _) => match self.expected_list(index)? {
                Some(list) => list,
                None => return Ok(None),
            },
        };
        let current = self.destination.current().map_err(|error| self.destination_error(error))?;
        if current != Some(wanted.digest) {
            return Ok(None);
        }
        if !self.destination.is_current_whole() {
            // A list can be in a registry without its images.
            for digest in &instances {
                if !self.destination.has_manifest(digest).map_err(|error| self.destination_error(error))? {
                    return Ok(None);
                }
            }
        }
        Ok(if self.may_skip(top, &wanted.digest)? { Some(wanted) } else { None })
    }

    /// Asks the policy about an image that the destination has. Returns whether it can stay as it is: it has no signatures
    /// that must be carried. The images of a list are asked about one by one when they are copied.
    fn may_skip(&self, top: &Document, wanted: &Digest) -> Result<bool> {
        let manifest = match (top, &self.options().selection) {
            (Document::Manifest(manifest), _) => manifest.clone(),
            (Document::Index(index), Selection::Platform(platform)) if self.is_judged()? => {
                self.find_instance(index.clone(), platform)?
            }
            (Document::Index(_), _) => {
                let is_signed = !self.options().remove_signatures
                    && !self.source.signatures(wanted).map_err(|error| self.source_error(error))?.is_empty();
                return Ok(!is_signed && !self.is_judged()?);
            }
        };
        self.prepare(manifest.raw(), manifest.digest(), ManifestPlace::Top)?;
        Ok(!self.is_signed(manifest.digest()))
    }

    fn copy_top(&self, top: Document) -> Result<Copied> {
        match (top, &self.options().selection) {
            (Document::Manifest(manifest), _) => {
                self.note_platform(&manifest)?;
                self.copy_image(&manifest, ManifestPlace::Top)
            }
            (Document::Index(index), Selection::Platform(platform)) => {
                let manifest = self.find_instance(index, platform)?;
                self.copy_image(&manifest, ManifestPlace::Top)
            }
            (Document::Index(index), _) => self.copy_list(&index, ManifestPlace::Top, 0),
        }
    }

    /// Fails if the name of the copy has another digest than a manifest or an index.
    pub(crate) fn check_digest(
        &self,
        bytes: &[u8],
        media_type: &MediaType,
        place: ManifestPlace,
    ) -> vmroot_transport::Result<()> {
        match self.destination.accepts().digest.filter(|_| place == ManifestPlace::Top) {
            Some(expected) if !is_manifest_of(bytes, &expected) => {
                let (place, media_type) = (self.destination.name(), media_type.to_string());
                let reason = format!("the name has another digest than the image, {}", Digest::of(bytes));
                Err(vmroot_transport::Error::Refused { place, media_type, reason })
            }
            _ => Ok(()),
        }
    }

    /// Writes a manifest or an index.
    pub(crate) fn put_manifest(
        &self,
        bytes: &[u8],
        media_type: &MediaType,
        place: ManifestPlace,
    ) -> vmroot_transport::Result<()> {
        self.check_digest(bytes, media_type, place)?;
        if self.options().dry_run {
            return Ok(());
        }
        // Tags share manifests. As for blobs, the others wait for the first. After that, only their names are new.
        let key =
            Key { scope: self.destination.blob_scope(), digest: Digest::of(bytes), target: None, encryption: None };
        let slot = self.copier.ledger.document(key);
        let mut is_written = lock(&slot);
        if *is_written {
            drop(is_written);
            return self.destination.put_manifest(bytes, media_type, place);
        }
        self.destination.put_manifest(bytes, media_type, place)?;
        *is_written = true;
        Ok(())
    }

    pub(crate) fn source_error(&self, error: vmroot_transport::Error) -> Error {
        self.cancelled().unwrap_or_else(|| Error::Source { place: self.source.name(), source: Box::new(error) })
    }

    pub(crate) fn destination_error(&self, error: vmroot_transport::Error) -> Error {
        self.cancelled().unwrap_or_else(|| match error {
            vmroot_transport::Error::Refused { place, media_type, reason } => {
                Error::Refused { place, media_type, reason, remedy: None }
            }
            error => Error::Destination { place: self.destination.name(), source: Box::new(error) },
        })
    }

    pub(crate) fn document_error(&self, error: vmroot_model::Error) -> Error {
        Error::Document { place: self.source.name(), source: Box::new(error) }
    }

    /// Returns the error of a cancelled copy, whose own error is a consequence.
    pub(crate) fn cancelled(&self) -> Option<Error> {
        self.options().cancel.is_cancelled().then_some(Error::Cancelled)
    }
}
