//! A directory of this machine as a layer: the tar of changes that an OCI image is made of.
//!
//! [`export_layer`] writes a whole directory, with the marks that overlayfs leaves in its upper directory ([`marks`])
//! turned into those of a layer. [`LayerWriter`] writes single entries.

mod marks;
mod sight;
mod writer;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use vmroot_compress::{Encoder, EncoderOptions};
use vmroot_container_fs::InodeKind;
use vmroot_output::{Hook, Meter, OmissionReason, Omissions, Omitted, display_path};

use crate::{Error, HostWalk, Result};
use marks::Mark;

pub use writer::LayerWriter;
use writer::{OPAQUE, WHITEOUT};

/// What is known of the marks of overlayfs in a directory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Nothing: there may be some. Those that this process sees are heeded.
    #[default]
    Unknown,
    /// It is the upper directory of an overlay. Its marks are `trusted.overlay.*`, which only processes with
    /// `CAP_SYS_ADMIN` in the first user namespace see; others are refused, unless they find marks of `userxattr`.
    Upper,
    /// It is the upper directory of an overlay that was mounted with `userxattr`: its marks are `user.overlay.*`.
    UserXattr,
}

/// How a directory becomes a layer.
#[derive(Default, Clone, Copy)]
pub struct LayerOptions<'a> {
    /// Take files named `.wh.…` for the whiteouts of an unpacked layer; otherwise they are refused.
    pub whiteout_files: bool,
    /// What is known of the marks of overlayfs.
    pub marks: Marks,
    /// Leave large holes of files out, as [`TarOptions::sparse`](vmroot_export::TarOptions::sparse) has it.
    pub sparse: bool,
    /// Write the attributes of the directory itself, as those of the root directory.
    pub with_root: bool,
    /// Fail at the first thing that a layer cannot hold.
    pub strict: bool,
    /// Hears of progress, with a total of 0, and may stop the export.
    pub hook: Option<Hook<'a>>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerReport {
    /// Entries, marks included.
    pub entries: u64,
    /// Bytes of the tar, before any compression.
    pub bytes: u64,
    /// Sockets, for which a tar has no type.
    pub omissions: Omissions,
    /// The directory is an overlay's upper directory, for it has whiteouts, and this process would not see which of its
    /// directories are opaque. Only with [`Marks::Unknown`].
    pub unseen_marks: bool,
}

/// Writes a directory as a layer's tar, and gives the writer back after a flush.
///
/// Owners, modes, nanoseconds, xattrs (see below), devices, holes and hard links within the directory are kept; entries
/// come as in [`export_tar`](vmroot_export::export_tar). The bytes are a function of what is in the directory. overlayfs's
/// whiteouts and opaque directories become those of a layer, its xattrs are left out. So are xattrs that are not the
/// files' own: the labels that SELinux and SMACK of this machine gave them, EVM's signatures, and what file systems show
/// as xattrs of their own.
///
/// # Errors
/// [`Error::UnseenMarks`] before anything is written, [`Error::Io`] for what cannot be read, [`Error::Unportable`] for
/// files of which overlayfs has kept a part in a lower layer, [`Error::ReservedName`], [`Error::Stream`],
/// [`Error::Cancelled`].
pub fn export_layer<W: Write>(directory: &Path, writer: W, options: &LayerOptions<'_>) -> Result<(W, LayerReport)> {
    let sees_trusted = sight::of_trusted();
    if options.marks == Marks::Upper && !sees_trusted && !sight::finds_user_marks(directory)? {
        return Err(Error::UnseenMarks(directory.to_owned()));
    }
    let meter = Meter::new(options.hook, 0);
    let (mut has_whiteouts, mut has_user_marks) = (false, false);
    let mut layer = LayerWriter::new(writer, options.sparse, &meter);
    let mut walk = HostWalk::of_directory(directory)?;
    let mut report = LayerReport::default();
    // Directories whose files may be whiteouts by an xattr.
    let mut xattr_whiteouts: HashSet<Vec<u8>> = HashSet::new();
    while let Some(entry) = walk.next() {
        let mut entry = entry?;
        let is_start = entry.path.is_empty();
        if options.whiteout_files && entry.name().starts_with(WHITEOUT) {
            add_whiteout_file(&mut layer, &entry.path)?;
            if entry.attributes.kind == InodeKind::Directory {
                walk.leave();
            }
            continue;
        }
        let parent = entry.path.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |slash| &entry.path[..slash]);
        has_user_marks |= entry.xattrs.iter().any(|(name, _)| name.starts_with(marks::USER));
        let mark = marks::of(&entry, !is_start && xattr_whiteouts.contains(parent))?;
        marks::strip(&mut entry.xattrs);
        match mark {
            Mark::Whiteout => {
                has_whiteouts = true;
                layer.whiteout(&entry.path)?;
                continue;
            }
            Mark::HasXattrWhiteouts => drop(xattr_whiteouts.insert(entry.path.clone())),
            Mark::None | Mark::Opaque => {}
        }
        if (!is_start || options.with_root) && !layer.add(&entry.path, &entry)? {
            report.omissions.add(
                || display_path(&entry.path),
                Omitted::Socket,
                OmissionReason::form("a layer has no type for it"),
            );
            report.omissions.check(options.strict, "a layer")?;
        }
        if mark == Mark::Opaque {
            layer.opaque(&entry.path)?;
        }
    }
    report.entries = layer.entries();
    report.unseen_marks = options.marks == Marks::Unknown && has_whiteouts && !has_user_marks && !sees_trusted;
    let (writer, bytes) = layer.finish()?;
    Ok((writer, LayerReport { bytes, ..report }))
}

/// The same, compressed.
///
/// # Errors
/// As [`export_layer`], and [`Error::Compression`] for a compression that is not written or a level that it does not
/// have.
pub fn export_compressed_layer<W: Write>(
    directory: &Path,
    writer: W,
    options: &LayerOptions<'_>,
    compression: &EncoderOptions,
) -> Result<(W, LayerReport)> {
    let encoder = Encoder::new(writer, compression)?;
    let (encoder, report) = export_layer(directory, encoder, options)?;
    Ok((encoder.finish().map_err(vmroot_export::Error::Stream)?, report))
}

/// A whiteout of an unpacked layer, or one of AUFS's own files, which mean nothing.
fn add_whiteout_file<W: Write>(layer: &mut LayerWriter<'_, W>, path: &[u8]) -> Result<()> {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (directory, name) = slash.map_or((&b""[..], path), |slash| (&path[..slash], &path[slash + 1..]));
    if name == OPAQUE {
        return layer.opaque(directory);
    }
    let hidden = &name[WHITEOUT.len()..];
    if hidden.is_empty() || hidden.starts_with(WHITEOUT) {
        return Ok(());
    }
    let path = if slash.is_some() { [directory, b"/", hidden].concat() } else { hidden.to_vec() };
    layer.whiteout(&path)
}
