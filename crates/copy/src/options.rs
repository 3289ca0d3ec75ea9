//! Options of copies.

use std::sync::Arc;
use std::time::Duration;

use vmroot_compress::{Limits, Target};
use vmroot_encryption::{DecryptionKeys, Recipients};
use vmroot_model::{ManifestFormat, Platform, Reference};
use vmroot_output::Cancel;
use vmroot_transport::Admission;

use crate::ImageSigner;

/// Options of a [`Copier`](crate::Copier).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CopyOptions {
    /// The images to copy, if the source is a list.
    pub selection: Selection,
    /// The format of the manifests. `None` keeps the format if the destination takes it.
    pub format: Option<ManifestFormat>,
    /// Whether a copy fails if it would change a digest.
    pub preserve_digests: bool,
    /// The compression of layers. `None` leaves the choice to the destination.
    pub compression: Option<Compression>,
    /// The level, 1 to 9, of layers that become gzip layers because the destination or the format requires it. `None` is
    /// 6.
    pub gzip_level: Option<u32>,
    /// The encryption of layers. Layers that are encrypted already stay as they are.
    pub encryption: Option<Encryption>,
    /// The keys that decrypt encrypted layers. Without keys, these are copied as they are.
    pub decryption_keys: Option<Arc<DecryptionKeys>>,
    /// Whether the documents that refer to the image are copied, too.
    pub referrers: bool,
    /// The policy that each image of the source must meet before anything of it is written.
    pub admission: Option<Admission>,
    /// Whether signatures of the source are left out. Otherwise an image with signatures must stay as it is, and the
    /// destination must have a place for them.
    pub remove_signatures: bool,
    /// Makers of new signatures of each image and list.
    pub signers: Vec<Arc<dyn ImageSigner>>,
    /// The name in new signatures. `None` stands for that of the destination.
    pub sign_identity: Option<Reference>,
    /// Whether nothing is written. The source is read as far as its documents.
    pub dry_run: bool,
    /// The number of blobs that are copied at once. The default is 6.
    pub parallel: usize,
    /// The number of retries of a blob whose transfer failed. The default is 3.
    pub retries: u32,
    /// The pause before each retry. `None`, the default, stands for 1 second before the first one, and twice as long
    /// before each further one.
    pub retry_delay: Option<Duration>,
    /// The limits on decompressing layers.
    pub limits: Limits,
    /// Cancels the copy.
    pub cancel: Cancel,
}

impl CopyOptions {
    /// Returns whether the options ask for changed layers or manifests, so that an image which is in the destination
    /// already does not suffice.
    pub(crate) fn change_images(&self) -> bool {
        self.format.is_some()
            || self.compression.is_some()
            || self.encryption.is_some()
            || self.decryption_keys.is_some()
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            selection: Selection::Platform(Platform::host()),
            format: None,
            preserve_digests: false,
            compression: None,
            gzip_level: None,
            encryption: None,
            decryption_keys: None,
            referrers: false,
            admission: None,
            remove_signatures: false,
            signers: Vec::new(),
            sign_identity: None,
            dry_run: false,
            parallel: 6,
            retries: 3,
            retry_delay: None,
            limits: Limits::default(),
            cancel: Cancel::new(),
        }
    }
}

/// The images of a list that are copied. A source that is no list is copied as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The image for one platform. The destination gets no list.
    Platform(Platform),
    /// The images for some platforms, and the list.
    Platforms {
        /// The platforms. Each selects all images for its operating system, architecture and, if it has one, variant.
        platforms: Vec<Platform>,
        /// The form of the list.
        list: ListForm,
    },
    /// All images, and the list.
    All,
    /// The list without its images. The destination should have these already.
    IndexOnly,
}

/// The form of a list of which some images are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListForm {
    /// The list stays as it is, with entries of images that the destination lacks. Some registries refuse it.
    Sparse,
    /// The entries of other images are removed, so the list has another digest.
    Stripped,
}

/// The compression of layers in the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The compression.
    pub target: Target,
    /// Whether layers of the destination that have another compression are not reused.
    pub force: bool,
}

/// The encryption of layers in the destination.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// The recipients, each of which can decrypt the layers.
    pub recipients: Arc<Recipients>,
    /// The layers to encrypt by their positions from 0, the base first. Negative positions count from the end: -1 is
    /// the last layer. Empty for all layers.
    pub layers: Vec<i64>,
}
