//! Root file systems for VMs and microVMs, from container images.
//!
//! ```no_run
//! use vmroot::{Client, ClientOptions};
//!
//! # fn main() -> vmroot::Result<()> {
//! let client = Client::new(ClientOptions::new("/var/cache/vmroot"))?;
//! let image = client.pull_for_arch("alpine:3.20", "arm64")?;
//! let root = client.root(&image)?;
//! let shell = root.resolve_path(b"/bin/sh")?;
//! println!("{} bytes", root.stat(shell.ino).size);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] pulls and loads images into a cache; an [`Image`] is one of them; its [`ContainerFs`] is the merged root,
//! read in place. [`export`], [`erofs`] and [`ext4`] write a root out, [`fuse`] and [`kernel_mount`] mount it, and
//! [`virtiofs`] serves it to a guest, which [`boot`] starts. [`Prebaked`] is an image in a directory of its
//! own, for machines without a cache. [`Top`] is what goes on top of a root for one use of it.
//!
//! Everything blocks; threads inside do what can be done at once. Nothing here prints, reads the environment, or picks a
//! directory.

mod client;
mod error;
pub mod guest;
mod prebaked;
mod progress;
mod remote;
mod runtime;
mod top;
mod validate;

pub use client::{Client, ClientOptions, PullOptions, is_id};
pub use error::{Error, Result};
pub use prebaked::{Prebaked, export_on_top_to_dir, export_to_dir, load_from_dir, load_from_dir_for_arch};
pub use progress::{DownloadProgress, ProgressMeter};
pub use remote::Description;
pub use runtime::RuntimeConfig;
pub use validate::{validate_image_name, validate_tar};
pub use vmroot_changes::{Addition, OnTop, Replaced, Top, TopFiles, TopLayer, TopOptions, TopWarning};

pub use vmroot_cache::{Area, Usage};
pub use vmroot_compress::{Compression, Encoder, EncoderOptions, Limits, pipelined};
pub use vmroot_container_fs::{
    ContainerFs, Contents, DirEntry, Error as RootError, Extent, ExtraLayer, InodeId, InodeKind, LayeredContainerFs,
    Resolved, Stat, StatFs, Timestamp, UserIds, Walk, WalkEntry,
};
pub use vmroot_image_store::{
    BlobProgress, Collection, ErrorKind, Finding, Image, LayerRecord, NoProgress, Progress, PullPolicy, Record,
    Removal, VerifyReport,
};
pub use vmroot_layer_index as layer_index;
pub use vmroot_layer_index::BuildOptions;
pub use vmroot_model::{Digest, ImageConfig, Platform, Reference};
pub use vmroot_registry::{
    AuthFiles, Cancel, Chain, ClientOptions as RegistryOptions, Credential, Credentials, Explicit, Proxies,
};
pub use vmroot_transport::{Archive, ArchiveImage, ImageName, Pick};

/// Booting a guest on a root.
pub use vmroot_boot as boot;
/// Directories of this machine as layers, and layers and files on top of a root.
pub use vmroot_changes as changes;
/// Writing a root as an EROFS image.
pub use vmroot_erofs as erofs;
/// Writing a root out: directory, tar, initramfs, squashfs, prebaked directory.
pub use vmroot_export as export;
/// Writing a root as an ext4 file system.
pub use vmroot_ext4 as ext4;
/// Mounting a root by FUSE.
pub use vmroot_fuse_mount as fuse;
/// Mounting a root by the kernel alone, and writable views.
pub use vmroot_kernel_mount as kernel_mount;
/// Files that appear whole, progress, and what a form leaves out.
pub use vmroot_output as output;
/// Serving a root to a guest by virtio-fs.
pub use vmroot_virtiofs as virtiofs;
