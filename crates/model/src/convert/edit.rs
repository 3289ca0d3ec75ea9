//! The same manifest with other layers or another config.

use serde_json::value::RawValue;

use crate::convert::{Converted, WrittenLayer, layers};
use crate::json_text::{RawObject, raw, to_vec};
use crate::{Descriptor, Manifest, Result};

impl Manifest {
    /// Returns the manifest with `layers` in place of its layers, in the same format.
    ///
    /// An unchanged layer keeps its descriptor. A changed one gets a new digest, size, media type and annotations, and
    /// loses its URLs. Everything else stays, members that this crate does not know included. If no layer changed, so
    /// do the bytes of the manifest.
    ///
    /// # Errors
    /// [`Error::Conversion`](crate::Error::Conversion) for another number of layers, or a layer whose media type cannot
    /// have its compression: zstd in a Docker manifest, or a blob that is no layer.
    pub fn with_layers(&self, layers: &[WrittenLayer]) -> Result<Converted> {
        let mut losses = Vec::new();
        let written = layers::written(self, self.layers(), layers, self.format(), &mut losses)?;
        let manifest = if written == self.layers() { self.raw().to_vec() } else { self.replace_layers(&written)? };
        Ok(Converted { manifest, media_type: self.media_type().clone(), config: None, extra_blobs: Vec::new(), losses })
    }

    /// Returns the bytes of the manifest with another config. The layers stay.
    ///
    /// # Errors
    /// [`Error::InvalidDocument`](crate::Error::InvalidDocument) if the manifest's config is not an object.
    pub fn with_config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        let mut document = self.raw_object()?;
        let mut member: RawObject = document.parsed("config");
        set_descriptor(&mut member, config);
        document.set("config", &member);
        Ok(to_vec(&document))
    }

    fn replace_layers(&self, written: &[Descriptor]) -> Result<Vec<u8>> {
        let mut document = self.raw_object()?;
        let members: Vec<RawObject> = document.parsed("layers");
        if members.len() != written.len() {
            return Err(self.invalid("its layers are not a list of objects".to_owned()));
        }
        let edited = members.into_iter().zip(self.layers().iter().zip(written)).map(|(mut member, (old, new))| {
            if old != new {
                set_descriptor(&mut member, new);
            }
            raw(&member)
        });
        document.set("layers", &edited.collect::<Vec<Box<RawValue>>>());
        Ok(to_vec(&document))
    }

    fn raw_object(&self) -> Result<RawObject> {
        serde_json::from_slice(self.raw()).map_err(|error| self.invalid(error.to_string()))
    }
}

/// Sets the members of a descriptor that depend on its content. Other members stay.
fn set_descriptor(member: &mut RawObject, descriptor: &Descriptor) {
    member.set("mediaType", &descriptor.media_type);
    member.set("digest", &descriptor.digest);
    member.set("size", &descriptor.size);
    member.remove("data");
    if descriptor.urls.is_empty() {
        member.remove("urls");
    } else {
        member.set("urls", &descriptor.urls);
    }
    if descriptor.annotations.is_empty() {
        member.remove("annotations");
    } else {
        member.set("annotations", &descriptor.annotations);
    }
}
