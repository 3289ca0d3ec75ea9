//! OCI layouts in directories and tars (OCI image-spec, image-layout.md).

mod delete;
mod destination;
mod directory;
mod index_file;
mod new_signatures;
mod signatures;

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use vmroot_compress::Compression;
use vmroot_model::{Descriptor, Digest, Document, Index, MANIFEST_LIMIT, MediaType};
use vmroot_signatures::{ImageIdentity, PathTransport, Signature, StoredBundle};

pub(crate) use self::delete::delete;
pub(crate) use self::destination::{OciLayoutDestination, accepts, can_hold, check_media_type, layer_form};
pub(crate) use self::directory::{BLOBS, Lock, index_bytes, layout_file};
pub(crate) use self::index_file::IndexFile;
pub(crate) use self::new_signatures::{Documents, NewSignatures};
use crate::bundle::{Bundle, Directory};
use crate::foreign::ForeignLayers;
use crate::referrers::Referrers;
use crate::section::Section;
use crate::selector::{ArchiveImage, tagged};
use crate::source::{BlobBody, ImageSource, RawManifest};
use crate::{Error, Result, identity};

/// The member that marks an OCI layout.
pub(crate) const OCI_LAYOUT: &str = "oci-layout";

/// The member that lists the images.
pub(crate) const INDEX_JSON: &str = "index.json";

/// The only supported version (image-layout.md, "oci-layout file").
const VERSION: &str = "1.0.0";

/// The maximum length of the version file, in bytes.
const LAYOUT_LIMIT: u64 = 64 << 10;

/// The annotation with a tag, or with another name that the layout's writer chose (annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation with the full reference, as containerd and Docker write it.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An OCI layout.
#[derive(Debug)]
pub(crate) struct OciLayout {
    bundle: Arc<dyn Bundle>,
    blobs: Blobs,
    index: Index,
    foreign: Option<ForeignLayers>,
}

/// The blobs of a layout: its own, or those that several layouts share.
#[derive(Debug, Clone)]
struct Blobs {
    bundle: Arc<dyn Bundle>,
    /// The directory of the blobs in the bundle, with a slash at its end, or an empty text.
    prefix: &'static str,
}

impl Blobs {
    /// Returns the member name of a blob. It is built only from a parsed digest.
    fn member(&self, digest: &Digest) -> String {
        format!("{}{}/{}", self.prefix, digest.algorithm().name(), digest.hex())
    }

    fn require(&self, digest: &Digest, role: &'static str) -> Result<Section> {
        self.bundle.require(&self.member(digest), role)
    }
}

/// The content of `oci-layout`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

/// The fields of a created index.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexDocument {
    schema_version: u32,
    media_type: MediaType,
    manifests: Vec<Descriptor>,
}

impl OciLayout {
    /// Checks the version and reads the list of images.
    pub(crate) fn open(bundle: Arc<dyn Bundle>) -> Result<Self> {
        check_version(&*bundle)?;
        let section = bundle.require(INDEX_JSON, "index")?;
        let bytes = bundle.read(INDEX_JSON, section, MANIFEST_LIMIT)?;
        let document = Document::parse(bytes, None).map_err(|source| {
            let (path, member) = (bundle.path().to_owned(), INDEX_JSON.to_owned());
            bundle.hide_content(INDEX_JSON, Error::Document { path, member, source })
        })?;
        match document {
            Document::Index(index) => {
                let blobs = Blobs { bundle: Arc::clone(&bundle), prefix: "blobs/" };
                Ok(Self { bundle, blobs, index, foreign: None })
            }
            Document::Manifest(_) => Err(Error::member(bundle.path(), INDEX_JSON, "is a manifest, not an index")),
        }
    }

    /// Reads blobs from a directory that several layouts share, instead of the layout's own.
    pub(crate) fn share_blobs(&mut self, directory: &Path) {
        self.blobs = Blobs { bundle: Arc::new(Directory(directory.to_owned())), prefix: "" };
    }

    /// Fetches the foreign layers that the layout does not have.
    pub(crate) fn fetch_foreign(&mut self, foreign: ForeignLayers) {
        self.foreign = Some(foreign);
    }

    /// Returns the images, in the order of the list.
    ///
    /// Entries for different platforms with the same names, or all without names, are one image: some tools write the
    /// index of a multi-platform image into the layout's own index.
    pub(crate) fn images(&self) -> Vec<ArchiveImage> {
        let mut images: Vec<ArchiveImage> = Vec::new();
        for (index, entry) in self.index.manifests().iter().enumerate() {
            if entry.is_attestation() || signatures::is_of_cosign(entry) {
                continue;
            }
            let names = names(entry);
            match images.iter_mut().find(|image| image.names == names && self.is_another_platform(image, entry)) {
                Some(image) => image.entries.push(index),
                None => images.push(ArchiveImage::new(index, names, references(entry))),
            }
        }
        images
    }

    /// Returns one entry of the list as an image of its own.
    pub(crate) fn entry(&self, index: usize) -> Option<ArchiveImage> {
        let entry = self.index.manifests().get(index)?;
        Some(ArchiveImage::new(index, names(entry), references(entry)))
    }

    /// Returns whether `entry` is for another platform than all entries of `image`.
    fn is_another_platform(&self, image: &ArchiveImage, entry: &Descriptor) -> bool {
        let platform = |entry: &Descriptor| entry.platform.as_ref().map(|platform| platform.normalised());
        let Some(own) = platform(entry) else { return false };
        let others = image.entries.iter().map(|&index| platform(&self.index.manifests()[index]));
        others.into_iter().all(|other| other.is_some_and(|other| other != own))
    }

    /// Creates a source of one image of the list.
    pub(crate) fn source(&self, image: &ArchiveImage, transport: &str) -> Result<OciImage> {
        let all = self.index.manifests();
        let mut entries = Vec::new();
        for &index in &image.entries {
            let entry = all.get(index).ok_or_else(|| Error::NoImages { path: self.bundle.path().to_owned() })?;
            entries.push(entry.clone());
        }
        let name = match image.names.first() {
            Some(name) => format!("{transport}:{}:{name}", self.bundle.path().display()),
            None => format!("{transport}:{}:@{}", self.bundle.path().display(), image.index),
        };
        let top = match &entries[..] {
            [entry] => {
                self.check_media_type(entry)?;
                TopDocument::Blob(Box::new(entry.clone()))
            }
            entries if entries.len() == all.len() => TopDocument::Index(self.index.raw().to_vec()),
            _ => {
                let media_type = MediaType::OCI_INDEX;
                let index = IndexDocument { schema_version: 2, media_type, manifests: entries };
                TopDocument::Index(serde_json::to_vec(&index).expect("descriptors are plain data"))
            }
        };
        let (blobs, entries, foreign) = (self.blobs.clone(), all.to_vec(), self.foreign.clone());
        let layout = Arc::clone(&self.bundle);
        Ok(OciImage { layout, blobs, name, top, entries, foreign, referrers: OnceLock::new() })
    }

    /// Fails if an entry is neither a manifest nor an index. An entry without a media type may be either.
    fn check_media_type(&self, entry: &Descriptor) -> Result<()> {
        let media_type = &entry.media_type;
        if media_type.is_empty() || media_type.is_manifest() || media_type.is_index() {
            return Ok(());
        }
        let reason = format!("has {} as {media_type:?}, which is not an image", entry.digest);
        Err(Error::member(self.bundle.path(), INDEX_JSON, reason))
    }
}

fn check_version(bundle: &dyn Bundle) -> Result<()> {
    // A missing directory would be reported as one without the file.
    fs::metadata(bundle.path()).map_err(Error::io("open", bundle.path()))?;
    let section = bundle.require(OCI_LAYOUT, "layout version")?;
    let checked = check_version_text(bundle.path(), &bundle.read(OCI_LAYOUT, section, LAYOUT_LIMIT)?);
    checked.map_err(|error| bundle.hide_content(OCI_LAYOUT, error))
}

/// Fails unless the bytes of `oci-layout` have the known version. `path` is the layout, for messages.
fn check_version_text(path: &Path, bytes: &[u8]) -> Result<()> {
    let wrong = |reason| Error::member(path, OCI_LAYOUT, reason);
    let layout: LayoutFile =
        serde_json::from_slice(bytes).map_err(|error| wrong(format!("is not a layout version: {error}")))?;
    if layout.image_layout_version != VERSION {
        return Err(wrong(format!("has version {:?}; only {VERSION} is known", layout.image_layout_version)));
    }
    Ok(())
}

/// Returns the names that select an entry, the full reference first.
fn names(entry: &Descriptor) -> Vec<String> {
    let mut names: Vec<String> =
        [IMAGE_NAME, REF_NAME].iter().filter_map(|key| entry.annotation(key)).map(ToOwned::to_owned).collect();
    names.dedup();
    names
}

/// Returns the references of an entry. A single word is a tag without a repository, so it is not a reference.
fn references(entry: &Descriptor) -> Vec<vmroot_model::Reference> {
    let full = entry.annotation(IMAGE_NAME).and_then(tagged);
    let partial = entry.annotation(REF_NAME).filter(|name| name.contains([':', '/'])).and_then(tagged);
    full.or(partial).into_iter().collect()
}

/// One image of an OCI layout.
pub(crate) struct OciImage {
    /// The files of the layout itself. Its blobs can be elsewhere.
    layout: Arc<dyn Bundle>,
    blobs: Blobs,
    name: String,
    top: TopDocument,
    /// The entries of the layout's index.
    entries: Vec<Descriptor>,
    foreign: Option<ForeignLayers>,
    /// Read when it is asked for: it needs the documents of all entries.
    referrers: OnceLock<Referrers>,
}

/// The top document of an image.
enum TopDocument {
    /// A manifest or index that is a blob of the layout.
    Blob(Box<Descriptor>),
    /// An index that is not a blob: the layout's own, or one created from some of its entries.
    Index(Vec<u8>),
}

impl fmt::Debug for OciImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OciImage").field(&self.name).finish()
    }
}

impl OciImage {
    fn read_manifest(&self, digest: &Digest, media_type: Option<String>) -> Result<RawManifest> {
        let (bundle, member) = (&self.blobs.bundle, self.blobs.member(digest));
        let section = self.blobs.require(digest, "manifest")?;
        let bytes = bundle.read(&member, section, MANIFEST_LIMIT)?;
        bundle.check_digest(&member, &bytes, digest)?;
        Ok(RawManifest { bytes, media_type })
    }
}

impl OciImage {
    /// Returns how to fetch a foreign layer that the layout does not have.
    fn elsewhere(&self, descriptor: &Descriptor) -> Result<Option<&ForeignLayers>> {
        let Some(foreign) = self.foreign.as_ref().filter(|_| descriptor.foreign_urls().next().is_some()) else {
            return Ok(None);
        };
        let present = self.blobs.bundle.find(&self.blobs.member(&descriptor.digest))?.is_some();
        Ok((!present).then_some(foreign))
    }

    /// Reads the documents of all entries.
    fn read_referrers(&self) -> Result<Referrers> {
        let mut referrers = Referrers::default();
        let is_document = |entry: &&Descriptor| entry.media_type.is_manifest() || entry.media_type.is_index();
        for entry in self.entries.iter().filter(is_document) {
            let (bundle, member) = (&self.blobs.bundle, self.blobs.member(&entry.digest));
            match bundle.find(&member)? {
                Some(section) if section.len() <= MANIFEST_LIMIT => {
                    let bytes = bundle.read(&member, section, MANIFEST_LIMIT)?;
                    referrers.add(&entry.digest, bytes, Some(&entry.media_type));
                }
                _ => {}
            }
        }
        Ok(referrers)
    }
}

impl ImageSource for OciImage {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        match (&self.top, digest) {
            (TopDocument::Blob(entry), None) => {
                let media_type = Some(entry.media_type.to_string()).filter(|it| !it.is_empty());
                self.read_manifest(&entry.digest, media_type)
            }
            (TopDocument::Index(bytes), None) => Ok(RawManifest { bytes: bytes.clone(), media_type: None }),
            (TopDocument::Index(bytes), Some(digest)) if Digest::of(bytes) == *digest => {
                Ok(RawManifest { bytes: bytes.clone(), media_type: None })
            }
            (_, Some(digest)) => self.read_manifest(digest, None),
        }
    }

    fn sniff(&self, descriptor: &Descriptor) -> Result<Option<Compression>> {
        if self.elsewhere(descriptor)?.is_some() {
            return Ok(None);
        }
        let sniffed = self.blobs.require(&descriptor.digest, "blob")?.sniff();
        Ok(Some(sniffed.map_err(|error| Error::of_reader(error, self.name(), descriptor.digest))?))
    }

    fn member(&self, digest: &Digest) -> Option<String> {
        Some(self.blobs.member(digest))
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        if let Some(foreign) = self.elsewhere(descriptor)? {
            return foreign.fetch(descriptor, offset);
        }
        Ok(self.blobs.require(&descriptor.digest, "blob")?.into_body(offset))
    }

    fn identity(&self) -> Result<ImageIdentity> {
        let transport = match self.layout.directory() {
            Some(_) => PathTransport::Oci,
            None => PathTransport::OciArchive,
        };
        identity::of_path(transport, self.layout.path())
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        self.read_signatures(manifest)
    }

    fn bundles(&self, manifest: &Digest) -> Result<Vec<StoredBundle>> {
        self.read_bundles(manifest)
    }

    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        if let Some(referrers) = self.referrers.get() {
            return Ok(referrers.of(digest));
        }
        let referrers = self.read_referrers()?;
        Ok(self.referrers.get_or_init(|| referrers).of(digest))
    }
}
