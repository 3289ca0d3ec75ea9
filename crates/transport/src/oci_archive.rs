//! Writing of OCI layouts into tars.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vmroot_model::{Descriptor, Digest, MANIFEST_LIMIT, MediaType, Reference};
use vmroot_signatures::Signature;

use crate::archive_output::ArchiveOutput;
use crate::instances::Instances;
use crate::oci_layout::{
    BLOBS, Documents, INDEX_JSON, IndexFile, NewSignatures, OCI_LAYOUT, accepts, can_hold, check_media_type,
    index_bytes, layer_form, layout_file,
};
use crate::referrers;
use crate::{Accepts, DestinationOptions, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse};

/// The permission bits of the members.
const MODE: u32 = 0o644;

/// An archive with one image, to be written. It replaces an older file.
///
/// Members are sorted by name, so equal images have equal archives.
#[derive(Debug)]
pub(crate) struct OciArchiveDestination {
    output: ArchiveOutput,
    name: Option<String>,
    layers: LayerForm,
    instances: Instances,
    top: Mutex<Option<Descriptor>>,
    referrers: Mutex<Vec<Descriptor>>,
    signatures: NewSignatures,
}

impl OciArchiveDestination {
    /// Opens the file for writing.
    pub(crate) fn open(path: &Path, name: Option<String>, options: &DestinationOptions) -> Result<Self> {
        let output = ArchiveOutput::create(path, options)?;
        let layers = layer_form(options);
        let (instances, top, referrers) = (Instances::default(), Mutex::new(None), Mutex::default());
        Ok(Self { output, name, layers, instances, top, referrers, signatures: NewSignatures::default() })
    }
}

impl Documents for OciArchiveDestination {
    fn read(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.output.spool().read(digest, MANIFEST_LIMIT).ok().flatten()
    }

    fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.output.spool().put_bytes(*digest, bytes)
    }
}

impl ImageDestination for OciArchiveDestination {
    fn name(&self) -> String {
        match &self.name {
            Some(name) => format!("oci-archive:{}:{name}", self.output.path().display()),
            None => format!("oci-archive:{}", self.output.path().display()),
        }
    }

    fn accepts(&self) -> Accepts {
        accepts(self.layers)
    }

    fn can_hold(&self, media_type: &MediaType) -> bool {
        can_hold(media_type)
    }

    fn reuse_blob(&self, blob: &Descriptor, _origins: &[Reference]) -> Result<Reuse> {
        Ok(self.output.reuse_blob(blob))
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        self.output.put_blob(blob)
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        check_media_type(self.name(), media_type)?;
        let spool = self.output.spool();
        match place {
            ManifestPlace::Instance => spool.put_bytes(self.instances.add(bytes), bytes),
            ManifestPlace::Referrer => {
                let referrer = referrers::describe(bytes, media_type);
                spool.put_bytes(referrer.digest, bytes)?;
                self.referrers.lock().unwrap_or_else(PoisonError::into_inner).push(referrer);
                Ok(())
            }
            ManifestPlace::Top => {
                for (other, sha256) in self.instances.other_names(bytes, media_type) {
                    if let Some(instance) = spool.read(&sha256, u64::MAX)? {
                        spool.put_bytes(other, &instance)?;
                    }
                }
                let top = Descriptor::of(MediaType::new(media_type.essence()), bytes);
                spool.put_bytes(top.digest, bytes)?;
                *self.top.lock().unwrap_or_else(PoisonError::into_inner) = Some(top);
                Ok(())
            }
        }
    }

    fn signatures_refusal(&self) -> Option<String> {
        None
    }

    fn put_signatures(&self, manifest: &Digest, _place: ManifestPlace, signatures: &[Signature]) -> Result<()> {
        self.signatures.add(self.name(), self, manifest, signatures)
    }

    fn commit(&self) -> Result<()> {
        let top = self.top.lock().unwrap_or_else(PoisonError::into_inner);
        let mut top = top.clone().ok_or_else(|| Error::NoManifest { place: self.name() })?;
        self.signatures.mark(&mut top);
        let path = self.output.path();
        let mut index = IndexFile::empty();
        let added = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        let set = added.iter().try_for_each(|referrer| index.add_unnamed(referrer));
        let set = set.and_then(|()| index.set(&top, self.name.as_deref()));
        let invalid = |error| Error::member(path, INDEX_JSON, format!("cannot be written: {error}"));
        set.map_err(invalid)?;
        self.signatures.enter(&mut index, self, invalid)?;
        let index = index_bytes(path, &index)?;
        let spool = self.output.spool();
        let mut digests = spool.digests();
        digests.sort_by_key(|digest| (digest.algorithm().name(), digest.hex()));
        self.output.commit(|tar| {
            tar.directory(BLOBS)?;
            let mut directories = BTreeSet::new();
            for digest in &digests {
                let algorithm = digest.algorithm().name();
                if directories.insert(algorithm) {
                    tar.directory(&format!("{BLOBS}/{algorithm}"))?;
                }
                if let Some((size, reader)) = spool.open(digest) {
                    tar.file(&format!("{BLOBS}/{algorithm}/{}", digest.hex()), MODE, size, reader)?;
                }
            }
            tar.file(INDEX_JSON, MODE, index.len() as u64, &index[..])?;
            let layout = layout_file();
            tar.file(OCI_LAYOUT, MODE, layout.len() as u64, layout.as_bytes())
        })
    }
}
