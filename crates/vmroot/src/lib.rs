//! Root file systems for VMs and microVMs, from container images.
//!
//! ```no_run
//! use vmroot::{Client, ClientOptions, Platform};
//!
//! # fn main() -> vmroot::Result<()> {
//! let client = Client::new(ClientOptions::new("/var/cache/vmroot"))?;
//! let image = client.pull_for("alpine:3.20", &Platform::linux("arm64")?)?;
//! let root = client.root(&image)?;
//! println!("{}", String::from_utf8_lossy(&root.read("/etc/os-release")?));
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] pulls and loads images into a cache. [`Client::root`] opens the merged root of an [`Image`] as a
//! [`ContainerFs`], which reads files in place. [`export`] and [`disk_image`] write a root, [`fuse`] and
//! [`kernel_mount`] mount it, and [`virtiofs`] serves it to a guest, which [`boot`] starts. A [`Prebaked`] is an image
//! in a directory of its own, for machines without a cache. A [`Top`] puts layers and files on top of a root.
//!
//! All functions block; parallel work runs on threads of this crate. The crate does not print, does not read the
//! environment, and chooses no directories.
//!
//! Structs of options gain fields with new versions: build them with `..Default::default()` or from their `new`.
//!
//! # Features
//!
//! All are on by default. Without them, the crate opens a cache or a prebaked directory, loads archives and layouts,
//! reads roots, and writes directories, tars, initramfs archives and squashfs images.
//!
//! | feature | adds |
//! |---|---|
//! | `registry` | pulls from registries |
//! | `trust` | [`trust`]: policies on signatures; and [`signing`] |
//! | `encryption` | decrypting and encrypting layers, which are errors without it |
//! | `fuse` | [`fuse`] |
//! | `virtiofs` | [`virtiofs`] |
//! | `kernel-mount` | [`kernel_mount`] |
//! | `erofs` | [`erofs`] |
//! | `ext4` | [`ext4`] and [`disk`] |
//! | `disk-serve` | [`disk_serve`]; turns on `erofs`, `fuse` and `virtiofs` |
//! | `boot` | [`boot`] and [`guest`]; turns on `disk-serve` and `ext4` |
//!
// The links above lead to modules, or to this table if a feature is off.
#![cfg_attr(not(feature = "trust"), doc = "[`trust`]: #features\n[`signing`]: #features")]
#![cfg_attr(not(feature = "fuse"), doc = "[`fuse`]: #features")]
#![cfg_attr(not(feature = "virtiofs"), doc = "[`virtiofs`]: #features")]
#![cfg_attr(not(feature = "kernel-mount"), doc = "[`kernel_mount`]: #features")]
#![cfg_attr(not(feature = "erofs"), doc = "[`erofs`]: #features")]
#![cfg_attr(not(feature = "ext4"), doc = "[`ext4`]: #features\n[`disk`]: #features")]
#![cfg_attr(not(feature = "disk-serve"), doc = "[`disk_serve`]: #features")]
#![cfg_attr(not(feature = "boot"), doc = "[`boot`]: #features\n[`guest`]: #features")]

mod client;
pub mod disk_image;
mod error;
#[cfg(feature = "boot")]
pub mod guest;
mod name;
mod prebaked;
mod progress;
mod remote;
mod runtime;
#[cfg(feature = "trust")]
pub mod signing;
mod top;
mod validate;

#[cfg(all(feature = "registry", feature = "trust"))]
pub use client::{Attestation, SignatureForms};
pub use client::{
    Client, ClientOptions, CommitLayer, CommitOptions, ImageDocuments, PolicyReport, Provenance, PullOptions,
    RepairOptions, TransportOptions, Why,
};
#[cfg(feature = "registry")]
pub use client::{
    ImageInstance, RegistryConfiguration, SyncDestination, SyncItem, SyncOptions, SyncSource, SyncTargets,
    is_tag_list_refused,
};
pub use error::{Error, Result};
pub use name::is_id;
pub use prebaked::Prebaked;
pub use progress::{DownloadProgress, ProgressMeter};
pub use remote::Description;
pub use runtime::RuntimeConfig;
pub use validate::{validate_image_name, validate_tar};
pub use vmroot_changes::{Addition, ExtendedRoot, Replacement, Top, TopFiles, TopOptions, TopProgress, TopWarning};

pub use vmroot_cache::{Area, Usage};
pub use vmroot_compress::{Compression, Encoder, EncoderOptions, Limits, Target, pipelined};
#[cfg(feature = "registry")]
pub use vmroot_config_files::{Configuration, Explanation, Locations};
pub use vmroot_container_fs::{
    Change, ChangeKind, ContainerFs, Contents, Diff, DiffOptions, DirEntry, Error as RootError, Extent, ExtraLayer,
    Field, Fields, FollowedLink, Hidden, Hiding, HidingCause, InodeId, InodeKind, LayerFiles, LayeredContainerFs,
    Located, OpenFile, Origin, Resolved, Stat, StatFs, Timestamp, UserIds, Version, Walk, WalkEntry,
};
pub use vmroot_copy::{BlobState, Copier, CopyOptions, CopyProgress, CopyReport, ListForm, NoCopyProgress, Selection};
pub use vmroot_errors::{ErrorKind, Limit, describe_content, with_causes};
pub use vmroot_guest_config::Process;
pub use vmroot_image_store::{
    AddedLayer, AffectedImage, BlobProgress, BlobStage, Chain, CollectOptions, Collection, Fallback, FileKind, Finding,
    FindingState, FreedLayer, HistoryStep, Holder, Image, ImageFilter, ImageSpace, Judged, JudgedSignature, KeptImage,
    LayerRecord, LayerSize, LayerSpace, Lease, LeasedImage, LoadOptions, LoadReport, LoadedImage, Moved, NewLayer,
    NoProgress, Progress, PullPolicy, QuarantinedFile, Reason, Record, Removal, RemovedImage, RootSpace, SaveFormat,
    SaveOptions, SpaceUsage, Tagged, Untagged, VerifyProgress, VerifyReport, Work, WorkProgress,
};
pub use vmroot_layer_index::BuildOptions;
pub use vmroot_model::{
    CommandLine, ConfigChange, Digest, History, ImageConfig, ManifestFormat, Platform, Reference, RootFs, split_image,
};
#[cfg(any(feature = "fuse", feature = "kernel-mount"))]
pub use vmroot_mount::MountOptions;
pub use vmroot_output::Cancel;
#[cfg(feature = "registry")]
pub use vmroot_registry::{
    AuthFiles, ClientOptions as RegistryOptions, Credential, CredentialChain, Credentials, FixedCredential, Proxies,
};
pub use vmroot_transport::{
    Admission, Archive, ArchiveImage, DestinationOptions, ImageDestination, ImageName, ImageSelector, ImageSource,
    LayerForm,
};

// Foreign types in signatures.
pub use bstr::{BStr, BString};
pub use rustix::io::Errno;

/// Boots a guest on a root.
///
/// ```no_run
#[doc = include_str!("../examples/boot.rs")]
/// ```
#[cfg(feature = "boot")]
#[doc(inline)]
pub use vmroot_boot as boot;
/// The cache directory: blobs, layers, roots and image records.
#[doc(inline)]
pub use vmroot_cache as cache;
/// Reads directories of this machine as layers, and puts layers and files on top of a root.
#[doc(inline)]
pub use vmroot_changes as changes;
/// Compresses and decompresses layers, within limits.
#[doc(inline)]
pub use vmroot_compress as compress;
/// Reads registries.conf, certs.d and the files with credentials of podman and docker.
#[cfg(feature = "registry")]
#[doc(inline)]
pub use vmroot_config_files as config_files;
/// Reads merged roots.
#[doc(inline)]
pub use vmroot_container_fs as container_fs;
/// Copies images between registries, archives, layouts and directories.
#[doc(inline)]
pub use vmroot_copy as copy;
/// Disks for guests: writable ones are created, grown, cloned and described.
#[cfg(feature = "ext4")]
#[doc(inline)]
pub use vmroot_disk as disk;
/// Encrypts and decrypts layers.
#[doc(inline)]
pub use vmroot_encryption as encryption;
/// Writes a root as an EROFS image.
///
/// ```no_run
#[doc = include_str!("../examples/erofs.rs")]
/// ```
#[cfg(feature = "erofs")]
#[doc(inline)]
pub use vmroot_erofs as erofs;
/// Writes a root as a directory, a tar, an initramfs, a squashfs image or a prebaked directory.
///
/// ```no_run
#[doc = include_str!("../examples/export.rs")]
/// ```
#[doc(inline)]
pub use vmroot_export as export;
/// Writes a root as an ext4 file system.
///
/// ```no_run
#[doc = include_str!("../examples/ext4.rs")]
/// ```
#[cfg(feature = "ext4")]
#[doc(inline)]
pub use vmroot_ext4 as ext4;
/// Mounts a root with FUSE.
///
/// ```no_run
#[doc = include_str!("../examples/fuse.rs")]
/// ```
#[cfg(feature = "fuse")]
#[doc(inline)]
pub use vmroot_fuse_mount as fuse;
/// Executes Go's text/template on JSON values, and writes JSON as Go does.
#[doc(inline)]
pub use vmroot_go_template as go_template;
/// Stores images in a cache.
#[doc(inline)]
pub use vmroot_image_store as image_store;
/// Mounts a root with the kernel's EROFS, and writable views with overlayfs.
///
/// ```no_run
#[doc = include_str!("../examples/kernel_mount.rs")]
/// ```
#[cfg(feature = "kernel-mount")]
#[doc(inline)]
pub use vmroot_kernel_mount as kernel_mount;
/// Builds, merges and reads indexes of layers.
#[doc(inline)]
pub use vmroot_layer_index as layer_index;
/// Names, digests, platforms and documents of images.
#[doc(inline)]
pub use vmroot_model as model;
/// Verifies and makes OpenPGP signed messages.
#[cfg(feature = "trust")]
#[doc(inline)]
pub use vmroot_openpgp as openpgp;
/// Output files that appear only when they are complete, progress, and omissions.
#[doc(inline)]
pub use vmroot_output as output;
/// Reads from, writes to and lists OCI registries.
#[cfg(feature = "registry")]
#[doc(inline)]
pub use vmroot_registry as registry;
/// Signatures of images as they are stored, and the interface of the judges of images.
#[doc(inline)]
pub use vmroot_signatures as signatures;
/// Verifies and makes sigstore signatures.
#[cfg(feature = "trust")]
#[doc(inline)]
pub use vmroot_sigstore as sigstore;
/// Reads images from registries, archives, layouts and directories.
#[doc(inline)]
pub use vmroot_transport as transport;
/// Policies on signatures of images, and verdicts with their reasons.
#[cfg(feature = "trust")]
#[doc(inline)]
pub use vmroot_trust as trust;
/// Writes and verifies hash trees of dm-verity over disk images.
#[doc(inline)]
pub use vmroot_verity as verity;
/// Serves a root to a guest over virtio-fs.
///
/// ```no_run
#[doc = include_str!("../examples/virtiofs.rs")]
/// ```
#[cfg(feature = "virtiofs")]
#[doc(inline)]
pub use vmroot_virtiofs as virtiofs;

/// Serves a root as a disk that is never written.
///
/// ```no_run
#[doc = include_str!("../examples/disk_serve.rs")]
/// ```
#[cfg(feature = "disk-serve")]
#[doc(inline)]
pub use vmroot_disk_serve as disk_serve;

/// The blocks of the page `docs/library.md` compile.
#[cfg(all(
    doctest,
    feature = "registry",
    feature = "trust",
    feature = "fuse",
    feature = "kernel-mount",
    feature = "boot"
))]
#[doc = include_str!("../../../docs/library.md")]
struct LibraryPage;
