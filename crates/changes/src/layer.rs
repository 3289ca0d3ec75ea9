//! Exporting a directory of this machine as a layer: the tar of changes of an OCI image.
//!
//! [`write_layer`] writes a whole directory and converts the marks of an overlayfs upper directory ([`marks`]).
//! [`write_disk_layer`] does the same for such a directory on an ext4 disk, and finds the changes of a disk with a whole
//! root ([`difference`]).
//! [`LayerWriter`] writes single entries.

mod difference;
mod marks;
mod sight;
mod writer;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use vmroot_compress::EncoderOptions;
use vmroot_container_fs::{ContainerFs, InodeKind};
use vmroot_export::write_stream;
use vmroot_output::{Hook, Meter, OmissionReason, Omissions, Omitted, OutputFile, Report, display_path};

use crate::disk::UPPER;
use crate::{Disk, Error, HostWalk, Result, Tree, TreeEntry, TreeFile};
use marks::Mark;

pub use writer::LayerWriter;
pub(crate) use writer::SHARED_PATHS_LIMIT;
use writer::{OPAQUE, WHITEOUT};

/// The overlayfs marks that a directory is expected to have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Unknown. Marks that this process can read are converted.
    #[default]
    Unknown,
    /// It is the upper directory of an overlay with `trusted.overlay.*` marks. Only processes with `CAP_SYS_ADMIN` in
    /// the initial user namespace can read these. Other processes get an error, unless the directory has
    /// `user.overlay.*` marks.
    Upper,
    /// It is the upper directory of an overlay that was mounted with `userxattr`. Its marks are `user.overlay.*`.
    UserXattr,
}

/// Options of [`export_layer`] and [`write_layer`].
#[derive(Debug, Default, Clone, Copy)]
pub struct LayerOptions<'a> {
    /// Treat files named `.wh.*` as whiteouts, as in an unpacked layer. If false, they are an error.
    pub whiteout_files: bool,
    /// The expected overlayfs marks.
    pub marks: Marks,
    /// Leave large holes out of files, as [`TarOptions::sparse`](vmroot_export::TarOptions::sparse).
    pub sparse: bool,
    /// The compression of the tar. `None` is none.
    pub compression: Option<EncoderOptions>,
    /// Write the attributes of the directory itself as those of the root directory.
    pub with_root: bool,
    /// Fail at the first entry that a layer cannot hold.
    pub strict: bool,
    /// Receives progress. `Break` cancels the export. `total_bytes` is 0.
    pub hook: Option<Hook<'a>>,
}

/// Writes a directory as a layer's tar to the file at `path`, which appears under its name only when it is complete.
///
/// # Errors
/// - [`Error::Io`]: the file cannot be created, written, synced or renamed.
/// - The errors of [`write_layer`].
pub fn export_layer(directory: &Path, path: &Path, options: &LayerOptions<'_>) -> Result<Report> {
    OutputFile::create(path)?.write_with(|writer| write_layer(directory, writer, options))
}

/// Writes a directory as a layer's tar, and flushes the writer.
///
/// Owners, modes, nanoseconds, xattrs, devices, holes and hard links within the directory are kept. Entries are in the
/// order of [`write_tar`](vmroot_export::write_tar). The bytes depend only on the directory and the options. The report
/// lists the sockets, which a tar cannot hold.
///
/// Whiteouts and opaque directories of overlayfs become those of a layer. The xattrs of overlayfs are left out, and so
/// are xattrs that belong to this machine: the labels of SELinux and SMACK, the signatures of EVM, and the xattrs that
/// file systems define.
///
/// # Errors
/// - [`Error::UnseenMarks`]: [`Marks::Upper`] is set and this process cannot read the marks. Nothing was written.
/// - [`Error::Io`]: the directory cannot be read.
/// - [`Error::Unportable`]: overlayfs stores a part of an entry in a lower layer.
/// - [`Error::ReservedName`]: a name begins with `.wh.`.
/// - [`Error::Incomplete`]: the directory has a socket, and `strict` is set.
/// - [`Error::Compression`]: the compression is not supported for writing, or it does not have this level.
/// - [`Error::Export`]: the writer failed.
/// - [`Error::Cancelled`]: the hook returned `Break`.
pub fn write_layer(directory: &Path, writer: &mut dyn Write, options: &LayerOptions<'_>) -> Result<Report> {
    write_stream(writer, options.compression.as_ref(), |writer| Ok(write_plain(directory, writer, options)?.omissions))
}

/// The result of [`write_plain`].
pub(crate) struct WrittenLayer {
    /// Sockets, which a tar cannot hold.
    pub(crate) omissions: Omissions,
    /// True if the directory has whiteouts, so that it is an upper directory, and this process cannot read the marks of
    /// opaque directories. Only set with [`Marks::Unknown`].
    pub(crate) unseen_marks: bool,
}

/// Writes a directory as an uncompressed tar. See [`write_layer`].
pub(crate) fn write_plain(
    directory: &Path,
    writer: &mut dyn Write,
    options: &LayerOptions<'_>,
) -> Result<WrittenLayer> {
    let sees_trusted = sight::sees_trusted_xattrs();
    if options.marks == Marks::Upper && !sees_trusted && !sight::has_user_marks(directory)? {
        return Err(Error::UnseenMarks(directory.to_owned()));
    }
    let meter = Meter::new(options.hook, 0);
    let mut layer = LayerWriter::new(writer, &meter).sparse(options.sparse);
    let written = write_tree(HostWalk::of_directory(directory)?, &mut layer, options)?;
    layer.finish()?;
    let unseen_marks =
        options.marks == Marks::Unknown && written.has_whiteouts && !written.has_user_marks && !sees_trusted;
    Ok(WrittenLayer { omissions: written.omissions, unseen_marks })
}

/// Writes the changes that a guest has made to its disk as a layer's tar, and flushes the writer.
///
/// A disk with an upper directory ([`Disk::has_upper`]) has the changes itself. Any other disk has a whole root, and the
/// layer is the difference to `base`, the root that the disk began with: added and changed entries, with modification
/// times, and whiteouts for the removed ones. All marks of overlayfs are seen, so
/// [`Marks`] do not matter. The empty `lost+found` of mke2fs is left out.
///
/// # Errors
/// - [`Error::Disk`]: the disk is damaged, has a feature that is not supported, or cannot be read.
/// - [`Error::NoBase`]: the disk has a whole root, and there is no `base`.
/// - The errors of [`write_layer`], without [`Error::UnseenMarks`].
pub fn write_disk_layer(
    disk: &Disk,
    base: Option<&ContainerFs>,
    writer: &mut dyn Write,
    options: &LayerOptions<'_>,
) -> Result<Report> {
    let has_upper = disk.has_upper()?;
    write_stream(writer, options.compression.as_ref(), |writer| {
        let meter = Meter::new(options.hook, 0);
        let mut layer = LayerWriter::new(writer, &meter).sparse(options.sparse);
        let omissions = match base {
            _ if has_upper => write_tree(disk.walk(UPPER)?, &mut layer, options)?.omissions,
            Some(base) => difference::write(disk, base, &mut layer, options)?,
            None => return Err(Error::NoBase(disk.path().to_owned())),
        };
        layer.finish()?;
        Ok(omissions)
    })
}

/// The result of [`write_tree`].
struct WrittenTree {
    omissions: Omissions,
    has_whiteouts: bool,
    has_user_marks: bool,
}

/// Writes the entries of a tree, and converts the marks of overlayfs.
fn write_tree<T: Tree>(mut tree: T, layer: &mut LayerWriter<'_>, options: &LayerOptions<'_>) -> Result<WrittenTree> {
    let (mut has_whiteouts, mut has_user_marks) = (false, false);
    let mut omissions = Omissions::default();
    // Directories in which an xattr marks files as whiteouts.
    let mut xattr_whiteouts: HashSet<Vec<u8>> = HashSet::new();
    while let Some(entry) = tree.next() {
        let mut entry = entry?;
        let is_start = entry.path.is_empty();
        if options.whiteout_files && entry.name().starts_with(WHITEOUT) {
            add_whiteout_file(layer, &entry.path)?;
            if entry.attributes.kind == InodeKind::Directory {
                tree.skip_directory();
            }
            continue;
        }
        has_user_marks |= entry.xattrs.iter().any(|(name, _)| name.starts_with(marks::USER));
        let mark = marks::mark_of(&entry, !is_start && xattr_whiteouts.contains(entry.parent()))?;
        marks::strip(&mut entry.xattrs);
        match mark {
            Mark::Whiteout => {
                has_whiteouts = true;
                layer.add_whiteout(&entry.path)?;
                continue;
            }
            Mark::HasXattrWhiteouts => drop(xattr_whiteouts.insert(entry.path.clone())),
            Mark::None | Mark::Opaque => {}
        }
        if !is_start || options.with_root {
            add(&entry, layer, &mut omissions, options)?;
        }
        if mark == Mark::Opaque {
            layer.add_opaque_mark(&entry.path)?;
        }
    }
    Ok(WrittenTree { omissions, has_whiteouts, has_user_marks })
}

/// Adds an entry, or records that a layer cannot hold it.
fn add<F: TreeFile>(
    entry: &TreeEntry<F>,
    layer: &mut LayerWriter<'_>,
    omissions: &mut Omissions,
    options: &LayerOptions<'_>,
) -> Result<()> {
    if layer.add(&entry.path, entry)? {
        return Ok(());
    }
    let reason = OmissionReason::form("a layer has no type for it");
    omissions.add(|| display_path(&entry.path), Omitted::Socket, reason);
    if options.strict {
        omissions.require_complete("a layer")?;
    }
    Ok(())
}

/// Adds a whiteout of an unpacked layer. The internal files of AUFS are ignored.
fn add_whiteout_file(layer: &mut LayerWriter<'_>, path: &[u8]) -> Result<()> {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (directory, name) = slash.map_or((&b""[..], path), |slash| (&path[..slash], &path[slash + 1..]));
    if name == OPAQUE {
        return layer.add_opaque_mark(directory);
    }
    let hidden = &name[WHITEOUT.len()..];
    if hidden.is_empty() || hidden.starts_with(WHITEOUT) {
        return Ok(());
    }
    let path = if slash.is_some() { [directory, b"/", hidden].concat() } else { hidden.to_vec() };
    layer.add_whiteout(&path)
}
