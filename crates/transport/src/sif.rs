//! `sif:` sources: images of Singularity and Apptainer.
//!
//! A SIF file has a squashfs as root file system. It becomes one plain layer in an unnamed file. The squashfs is read
//! here, so neither `unsquashfs` nor `fakeroot` is needed, and owners, devices and xattrs stay as they are. As
//! containers/image does, the environment and the script of the definition file become `/podman/runscript`, the image's
//! command.

mod container;
mod definition;
mod layer;
mod squashfs;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use vmroot_model::{Descriptor, History, MediaType, Platform};

use self::container::Container;
use self::definition::Definition;
use crate::created_image::{CreatedConfig, CreatedImage, CreatedLayer};
use crate::section::Section;
use crate::source::ImageSource;
use crate::{ArchiveOptions, Error, Result};
use vmroot_model::rfc3339;

/// The operating system of all images.
const LINUX: &str = "linux";

/// Opens a SIF file as an image.
///
/// Reads the whole squashfs, and writes the layer to an unnamed file in the spool directory. The limits are on the
/// layer's size.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be read, or the spool cannot be written.
/// - [`Error::NotAnArchive`]: the file is not a SIF file, or its root file system is encrypted or not a squashfs.
/// - [`Error::Member`]: the SIF file or its squashfs is damaged, or has a compression that is not supported.
/// - [`Error::ArchiveLimit`], [`Error::MemberTooLarge`]: a limit is exceeded.
pub fn open_sif(path: &Path, options: &ArchiveOptions) -> Result<Box<dyn ImageSource>> {
    let file = Arc::new(File::open(path).map_err(Error::io("open", path))?);
    let container = Container::read(path, &file)?;
    let definition = Definition::parse(&container.definition);
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(container.modified);
    let layer = layer::write(path, container.root.clone(), definition.script(), container.modified, options)?;
    let section = Section::new(Arc::new(layer.file), 0, layer.size);
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, layer.digest, layer.size);
    let cmd = definition.command();
    let entry = |created_by: String, comment: Option<String>| History {
        created: Some(rfc3339(created)),
        created_by: Some(created_by),
        empty_layer: comment.is_none(),
        comment,
        ..History::default()
    };
    let comment = format!("imported from SIF, uuid: {}", container.uuid);
    let shown = serde_json::to_string(&cmd).expect("texts are plain data");
    let config = CreatedConfig {
        created: rfc3339(created),
        platform: Platform {
            os: LINUX.to_owned(),
            architecture: container.architecture.to_owned(),
            ..Platform::default()
        },
        history: vec![
            entry(format!("/bin/sh -c #(nop) ADD file:{} in /", layer.digest.hex()), Some(comment)),
            entry(format!("/bin/sh -c #(nop) CMD {shown}"), None),
        ],
        cmd,
        labels: BTreeMap::new(),
    };
    let layer_of_image = CreatedLayer { descriptor, diff_id: layer.digest, section };
    let image = CreatedImage::new(format!("sif:{}", path.display()), &config, vec![layer_of_image]);
    let notes =
        (layer.sockets > 0).then(|| format!("{} sockets are left out: a layer cannot have them", layer.sockets));
    Ok(Box::new(image.with_notes(notes.into_iter().collect())))
}
