//! `dir:` directories, as `skopeo copy … dir:PATH` writes them: one image, with a file for each part.

mod destination;
mod version;

use std::fs;
use std::sync::Arc;

use vmroot_compress::Compression;
use vmroot_model::{Algorithm, AnyDocument, Descriptor, Digest, MANIFEST_LIMIT, is_manifest_of};
use vmroot_signatures::{ImageIdentity, PathTransport, Signature};

pub(crate) use self::destination::DirDestination;
use self::version::VersionFile;
use crate::blob_file::read_document;
use crate::bundle::Bundle;
use crate::docker_archive::MANIFEST_JSON;
use crate::referrers::Referrers;
use crate::source::{BlobBody, ImageSource, RawManifest};
use crate::{Error, Result, identity, signature_files};

/// The member with the version.
const VERSION: &str = "version";

/// The part of a file name that signatures have.
const SIGNATURE: &[u8] = b"signature-";

/// The maximum length of the version file, in bytes.
const VERSION_LIMIT: u64 = 4 << 10;

/// The ending of the names of documents other than the image's own.
const DOCUMENT_ENDING: &str = ".manifest.json";

/// The image of a `dir:` directory.
#[derive(Debug, Clone)]
pub(crate) struct DirImage {
    bundle: Arc<dyn Bundle>,
}

impl DirImage {
    /// Checks the version if there is one, and that a manifest exists.
    pub(crate) fn open(bundle: Arc<dyn Bundle>) -> Result<Self> {
        if let Some(section) = bundle.find(VERSION)? {
            let file = VersionFile(bundle.read(VERSION, section, VERSION_LIMIT)?);
            file.check(bundle.path()).map_err(|error| bundle.hide_content(VERSION, error))?;
        }
        bundle.require(MANIFEST_JSON, "manifest")?;
        Ok(Self { bundle })
    }

    fn read(&self, member: &str) -> Result<RawManifest> {
        let section = self.bundle.require(member, "manifest")?;
        let bytes = self.bundle.read(member, section, MANIFEST_LIMIT)?;
        if member == MANIFEST_JSON && self.bundle.leads_out(member) {
            // Callers show the bytes and quote them in errors.
            AnyDocument::parse(bytes.clone(), None).map_err(|source| {
                let path = self.bundle.path().to_owned();
                self.bundle.hide_content(member, Error::Document { path, member: member.to_owned(), source })
            })?;
        }
        Ok(RawManifest { bytes, media_type: None })
    }
}

/// Returns the file name for a digest, without an ending.
fn stem(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex(),
        Algorithm::Sha512 => format!("sha512-{}", digest.hex()),
    }
}

/// Returns the file name of an instance of a list.
fn instance_name(digest: &Digest) -> String {
    stem(digest) + DOCUMENT_ENDING
}

/// Returns the digest of a document by its file name.
fn digest_of_name(name: &str) -> Option<Digest> {
    let stem = name.strip_suffix(DOCUMENT_ENDING)?;
    let digest = match stem.split_once('-') {
        Some((algorithm, hex)) => format!("{algorithm}:{hex}"),
        None => format!("sha256:{stem}"),
    };
    Digest::parse(&digest).ok()
}

impl ImageSource for DirImage {
    fn name(&self) -> String {
        format!("dir:{}", self.bundle.path().display())
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let Some(digest) = digest else { return self.read(MANIFEST_JSON) };
        let instance = instance_name(digest);
        let member = if self.bundle.find(&instance)?.is_some() { &*instance } else { MANIFEST_JSON };
        let manifest = self.read(member)?;
        self.bundle.check_digest(member, &manifest.bytes, digest)?;
        Ok(manifest)
    }

    fn sniff(&self, descriptor: &Descriptor) -> Result<Option<Compression>> {
        let sniffed = self.bundle.require(&stem(&descriptor.digest), "blob")?.sniff();
        Ok(Some(sniffed.map_err(|error| Error::of_reader(error, self.name(), descriptor.digest))?))
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        Ok(self.bundle.require(&stem(&descriptor.digest), "blob")?.into_body(offset))
    }

    fn blob_size(&self, digest: &Digest) -> Result<u64> {
        Ok(self.bundle.require(&stem(digest), "blob")?.len())
    }

    /// The directory is listed for each call: only copies with referrers ask, once for each document.
    fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        let path = self.bundle.path();
        let mut referrers = Referrers::default();
        for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
            let name = entry.map_err(Error::io("list", path))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(document) = digest_of_name(name)
                && let Some(bytes) = read_document(&path.join(name))
            {
                referrers.add(&document, bytes, None);
            }
        }
        Ok(referrers.of(digest))
    }

    fn identity(&self) -> Result<ImageIdentity> {
        identity::of_path(PathTransport::Dir, self.bundle.path())
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let is_top = is_manifest_of(&self.read(MANIFEST_JSON)?.bytes, manifest);
        signature_files::read(self.bundle.path(), &signature_prefix(manifest, is_top))
    }
}

/// Returns the beginning of the names of the files with the signatures of a document.
fn signature_prefix(manifest: &Digest, is_top: bool) -> String {
    if is_top { String::new() } else { format!("{}.", stem(manifest)) }
}
