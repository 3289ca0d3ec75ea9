//! The ways a guest gets its root, each made into what a machine takes.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use vmroot_container_fs::ContainerFs;
use vmroot_disk_image::{
    ErofsOptions, Ext4Options, SquashfsCompression, SquashfsOptions, VmdkAccess, write_erofs, write_erofs_meta,
    write_ext4, write_squashfs,
};
use vmroot_export::{CpioOptions, Hook, Omissions, export_cpio};
use vmroot_virtiofs::{VirtioFs, VirtioFsOptions};

use crate::{Disk, DiskFormat, Error, Result, Share};

/// How a guest gets its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// An EROFS image, read-only.
    Erofs,
    /// EROFS metadata over the contents of the layers where they lie, read-only: nothing is copied.
    ErofsMeta,
    /// An ext4 image, writable.
    Ext4,
    /// A squashfs image, read-only, which `sqfstar` of squashfs-tools makes.
    Squashfs,
    /// An archive that the kernel unpacks into memory, writable.
    Cpio,
    /// A share that this process serves, read-only.
    Virtiofs,
}

/// Omissions that are named in warnings; further ones are counted.
const SHOWN: usize = 20;
/// The tag of the share.
const TAG: &str = "root";
/// Its queues: what one guest needs.
const QUEUES: usize = 1;

/// A root as a machine takes it.
#[derive(Debug)]
pub(crate) enum Medium {
    /// A file system on disks, the first of which is mounted.
    Disks(Vec<Disk>),
    /// An archive: the kernel's first root, and its last.
    Archive(PathBuf),
    /// A share, and the device that is to serve it.
    Share(Share, Box<VirtioFs>),
}

/// How a root is made into its form.
pub(crate) struct Making<'a> {
    pub(crate) root: &'a Arc<ContainerFs>,
    /// Where files and sockets go.
    pub(crate) directory: &'a Path,
    /// The formats of disks that the machine takes.
    pub(crate) takes_vmdk: bool,
    /// Bytes that the guest can write to an image which it may write to.
    pub(crate) free: u64,
    pub(crate) hook: Option<Hook<'a>>,
}

impl Via {
    /// The type of its file system, as in mount(2); none for an archive.
    pub(crate) fn fstype(self) -> Option<&'static str> {
        match self {
            Self::Erofs | Self::ErofsMeta => Some("erofs"),
            Self::Ext4 => Some("ext4"),
            Self::Squashfs => Some("squashfs"),
            Self::Cpio => None,
            Self::Virtiofs => Some("virtiofs"),
        }
    }

    /// Whether the guest can write to it.
    pub(crate) fn is_writable(self) -> bool {
        match self {
            Self::Ext4 | Self::Cpio => true,
            Self::Erofs | Self::ErofsMeta | Self::Squashfs | Self::Virtiofs => false,
        }
    }

    /// Makes what the machine takes.
    pub(crate) fn make(self, making: &Making<'_>) -> Result<Medium> {
        match self {
            Self::Erofs => making.erofs(),
            Self::ErofsMeta => making.erofs_meta(),
            Self::Ext4 => making.ext4(),
            Self::Squashfs => making.squashfs(),
            Self::Cpio => making.archive(),
            Self::Virtiofs => making.share(),
        }
    }
}

impl Medium {
    /// The source that is mounted; none for an archive.
    pub(crate) fn source(&self) -> Option<String> {
        match self {
            Self::Disks(_) => Some(crate::machine::disk_name(0)),
            Self::Archive(_) => None,
            Self::Share(share, _) => Some(share.tag.clone()),
        }
    }

    /// Options of the mount.
    pub(crate) fn options(&self) -> String {
        let Self::Disks(disks) = self else { return String::new() };
        let more = (1..disks.len()).map(|number| format!("device={}", crate::machine::disk_name(number)));
        more.collect::<Vec<_>>().join(",")
    }
}

impl Making<'_> {
    fn erofs(&self) -> Result<Medium> {
        let (path, file) = self.file("root.erofs")?;
        let report = write_erofs(self.root, &file, &ErofsOptions { hook: self.hook, ..ErofsOptions::default() })?;
        warn_of(&report.omissions);
        Ok(Medium::Disks(vec![Disk { path, format: DiskFormat::Raw, writable: false }]))
    }

    /// One disk that a VMDK puts together, which guests from Linux 5.4 on mount; or else a disk for each layer (5.16).
    fn erofs_meta(&self) -> Result<Medium> {
        let raw = |path| Disk { path, format: DiskFormat::Raw, writable: false };
        let (image, file) = self.file("root.erofs")?;
        let mut meta = write_erofs_meta(self.root, &file)?;
        warn_of(&meta.omissions);
        for device in &mut meta.devices {
            // A descriptor takes paths from where it lies.
            device.path = path::absolute(&device.path).map_err(Error::io("find", &device.path))?;
        }
        if !self.takes_vmdk {
            let layers = meta.devices.into_iter().map(|device| device.path);
            return Ok(Medium::Disks([image].into_iter().chain(layers).map(raw).collect()));
        }
        let (head, head_file) = self.file("root.head")?;
        meta.write_head(&file, &head_file)?;
        let (path, mut file) = self.file("root.vmdk")?;
        file.write_all(&meta.vmdk(&head, VmdkAccess::ReadWrite)?).map_err(Error::io("write", &path))?;
        Ok(Medium::Disks(vec![Disk { path, format: DiskFormat::Vmdk, writable: false }]))
    }

    fn ext4(&self) -> Result<Medium> {
        let (path, file) = self.file("root.ext4")?;
        let options = Ext4Options { free: self.free, hook: self.hook, ..Ext4Options::default() };
        warn_of(&write_ext4(self.root, &file, &options)?.omissions);
        Ok(Medium::Disks(vec![Disk { path, format: DiskFormat::Raw, writable: true }]))
    }

    fn squashfs(&self) -> Result<Medium> {
        let (path, _) = self.file("root.squashfs")?;
        // It is read once or twice, so it is to be made soon.
        let compression = SquashfsCompression::Lz4;
        let options = SquashfsOptions { compression, hook: self.hook, ..SquashfsOptions::default() };
        warn_of(&write_squashfs(self.root, &path, &options)?.omissions);
        Ok(Medium::Disks(vec![Disk { path, format: DiskFormat::Raw, writable: false }]))
    }

    fn archive(&self) -> Result<Medium> {
        let (path, file) = self.file("root.cpio")?;
        let options = CpioOptions { hook: self.hook, ..CpioOptions::default() };
        let (_, report) = export_cpio(self.root, BufWriter::with_capacity(1 << 20, file), &options)?;
        warn_of(&report.omissions);
        Ok(Medium::Archive(path))
    }

    fn share(&self) -> Result<Medium> {
        let socket = self.directory.join("root.socket");
        let device = VirtioFs::bind(
            Arc::clone(self.root),
            &socket,
            &VirtioFsOptions { queues: QUEUES, ..VirtioFsOptions::default() },
        )?;
        Ok(Medium::Share(Share { tag: TAG.to_owned(), socket, queues: QUEUES as u32 }, Box::new(device)))
    }

    fn file(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.directory.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(Error::io("write", &path))?;
        Ok((path, file))
    }
}

/// Says what the guest does not see as it is in the image.
fn warn_of(omissions: &Omissions) {
    omissions.lines(SHOWN).iter().for_each(|line| tracing::warn!("{line}"));
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Erofs => "erofs",
            Self::ErofsMeta => "erofs-meta",
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Cpio => "cpio",
            Self::Virtiofs => "virtiofs",
        })
    }
}
