//! `verity verify`: a disk image and its hash tree against a root hash, and against the root of an image.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use vmroot::Digest;
use vmroot::verity::{Parameters, RootHash, Superblock, find_appended, verify};

use super::disk::{Disk, length_of};
use super::{TreeRecord, appended, beside, open, read_superblock, with_progress};
use crate::args::{DiskFormat, RootHashArguments};
use crate::commands::export::root_hash;
use crate::context::Context;
use crate::display::Action;
use crate::exit::{Advised, UsageError};
use crate::{human, output};

/// The bytes of a disk image that tell its format.
const HEAD: usize = 2048;

/// The operands of `verity verify`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operands {
    pub(crate) image: Option<String>,
    disk: PathBuf,
    /// The file of the tree. `None`: it follows the disk image, or is beside it.
    tree: Option<PathBuf>,
    root_hash: RootHash,
}

impl Operands {
    /// Parses `DISK TREE HASH`, `IMAGE DISK HASH` or `IMAGE DISK TREE HASH`. Of three, the first is a disk image if
    /// `is_file` says so.
    pub(crate) fn parse(operands: &[OsString], is_file: impl Fn(&Path) -> bool) -> anyhow::Result<Self> {
        let (image, disk, tree, hash) = match operands {
            [disk, tree, hash] if is_file(Path::new(disk)) => (None, disk, Some(tree), hash),
            [image, disk, hash] => (Some(image), disk, None, hash),
            [image, disk, tree, hash] => (Some(image), disk, Some(tree), hash),
            _ => return Err(anyhow!(UsageError("verity verify takes three or four operands".to_owned()))),
        };
        let text = |word: &OsString| word.to_str().map(str::to_owned);
        let name = |word: &OsString| {
            text(word).ok_or_else(|| UsageError(format!("{}: neither a file nor the name of an image", word.display())))
        };
        let invalid = |reason: String| UsageError(format!("HASH {}: {reason}", hash.display()));
        let digits = text(hash).ok_or_else(|| invalid("not hexadecimal digits".to_owned()))?;
        Ok(Self {
            image: image.map(name).transpose()?,
            disk: disk.into(),
            tree: tree.map(PathBuf::from),
            root_hash: digits.parse().map_err(|error: vmroot::verity::Error| invalid(error.to_string()))?,
        })
    }
}

/// The root hash of an image's root.
struct Expected {
    id: Option<Digest>,
    name: String,
    format: DiskFormat,
    root_hash: String,
}

/// Runs the command.
pub(super) fn run(
    context: &Context,
    operands: &Operands,
    offset: Option<u64>,
    format: Option<DiskFormat>,
    arguments: &RootHashArguments,
) -> anyhow::Result<()> {
    let disk = Disk::open(&operands.disk, false)?;
    let tree_path = match &operands.tree {
        Some(tree) => tree.clone(),
        None => place_of_tree(&operands.disk)?,
    };
    let tree = open(&tree_path)?;
    let is_appended = disk.is_file(&tree)?;
    let offset = match offset {
        Some(offset) => offset,
        None if is_appended => appended(&tree, &tree_path)?,
        None => 0,
    };
    let superblock = read_superblock(&tree, &tree_path, offset)?;
    check_root_hash(&superblock, &operands.root_hash)?;
    let expected = operands.image.as_deref().map(|image| {
        let format = format.map_or_else(|| format_of(&operands.disk), Ok)?;
        expect(context, image, format, arguments, &superblock.parameters)
    });
    let expected = expected.transpose()?;
    let verified = with_progress(context, Action::Verify, &operands.disk, |options| {
        verify(&disk.data(), &tree, offset, &operands.root_hash, options)
    })?;
    if let Some(Expected { name, format, root_hash, .. }) = &expected
        && *root_hash != operands.root_hash.to_string()
    {
        let format = clap::ValueEnum::to_possible_value(format).map_or_else(String::new, |it| it.get_name().to_owned());
        let message = format!("the {format} image of {name} has the root hash {root_hash}");
        let hint = "give the options of the export, such as --compress, --size and --add; otherwise, the disk has another root";
        return Err(Advised::damaged(message, hint).into());
    }
    let record = TreeRecord::of(&verified, Some(&operands.root_hash), (!is_appended).then_some(&tree_path), offset);
    if context.json() {
        let mut json = serde_json::to_value(&record)?;
        json["image"] = expected.as_ref().and_then(|it| it.id).map_or(Value::Null, |id| json!(id));
        return Ok(output::print_json(&json)?);
    }
    let whose = expected.map(|it| format!(", the root of {}", it.name)).unwrap_or_default();
    Ok(output::print_line(format!(
        "{}: {}, {}, verified{whose}",
        operands.disk.display(),
        human::count(verified.data_blocks, "block"),
        output::format_bytes(verified.data_length())
    ))?)
}

/// Fails if a root hash does not have the length of the tree's algorithm.
fn check_root_hash(superblock: &Superblock, root_hash: &RootHash) -> anyhow::Result<()> {
    let algorithm = superblock.parameters.algorithm;
    let digits = root_hash.as_bytes().len() * 2;
    let needed = algorithm.digest_length() * 2;
    if digits == needed {
        return Ok(());
    }
    let message = format!("HASH: it has {digits} digits, and one of {algorithm} has {needed}");
    let hint = "the root hash is the line that `vmroot verity format` and `vmroot export --verity` print";
    Err(Advised::usage(message, hint).into())
}

/// Computes the root hash of the disk image that an export of the image writes.
fn expect(
    context: &Context,
    name: &str,
    format: DiskFormat,
    arguments: &RootHashArguments,
    parameters: &Parameters,
) -> anyhow::Result<Expected> {
    root_hash::check_options(format, arguments)?;
    let opened = root_hash::open(context, name, arguments)?;
    let id = opened.image.as_ref().map(|used| *used.image.id());
    let tree = root_hash::tree_of(context, opened, format, arguments, parameters)?;
    let root_hash = tree.root_hash.unwrap_or_default();
    Ok(Expected { id, name: name.to_owned(), format, root_hash })
}

/// Returns the file with the tree of a disk image: the image itself, or else the file beside it.
fn place_of_tree(disk: &Path) -> anyhow::Result<PathBuf> {
    let file = open(disk)?;
    if find_appended(&file, length_of(&file, disk)?).map_err(vmroot::Error::from)?.is_some() {
        return Ok(disk.to_owned());
    }
    // OUT.vmdk of an erofs-meta image belongs to OUT.
    let stem = (disk.extension() == Some("vmdk".as_ref())).then(|| beside(&disk.with_extension("")));
    let stem = stem.map(|tree| match tree.file_stem() {
        // OUT.rdonly.vmdk
        Some(name) if !tree.exists() => beside(&tree.with_file_name(Path::new(name).with_extension(""))),
        _ => tree,
    });
    let tree = stem.filter(|tree| tree.exists()).unwrap_or_else(|| beside(disk));
    match tree.exists() {
        true => Ok(tree),
        false => {
            let message =
                format!("{}: no hash tree follows the image, and there is no {}", disk.display(), tree.display());
            Err(Advised::not_found(message, "name the file of the tree after the disk image").into())
        }
    }
}

/// Returns the format of a disk image, by its first bytes.
fn format_of(disk: &Path) -> anyhow::Result<DiskFormat> {
    let mut head = vec![0; HEAD];
    let read =
        File::open(disk).and_then(|file| file.read_at(&mut head, 0)).with_context(|| disk.display().to_string())?;
    head.truncate(read);
    recognise(&head).ok_or_else(|| {
        let message = format!("{}: neither EROFS, ext4, squashfs nor a VMDK descriptor", disk.display());
        Advised::usage(message, "--format says which format it has").into()
    })
}

fn recognise(head: &[u8]) -> Option<DiskFormat> {
    let has = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if has(0, b"# Disk DescriptorFile\n") {
        Some(DiskFormat::ErofsMeta)
    } else if has(1024, &0xe0f5_e1e2_u32.to_le_bytes()) {
        Some(DiskFormat::Erofs)
    } else if has(1080, &0xef53_u16.to_le_bytes()) {
        Some(DiskFormat::Ext4)
    } else if has(0, b"hsqs") {
        Some(DiskFormat::Squashfs)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_disk_and_another_word_an_image() {
        let parse = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(Into::into).collect();
            Operands::parse(&words, |path| path.starts_with("disk"))
        };
        let parts = |words: &[&str]| {
            let Operands { image, disk, tree, .. } = parse(words).unwrap();
            (image, disk, tree)
        };
        let disk = PathBuf::from("disk");
        assert_eq!(parts(&["disk", "tree", "00"]), (None, disk.clone(), Some("tree".into())));
        assert_eq!(parts(&["alpine", "disk", "00"]), (Some("alpine".to_owned()), disk.clone(), None));
        assert_eq!(parts(&["disk", "disk", "tree", "00"]), (Some("disk".to_owned()), disk, Some("tree".into())));
        assert!(parse(&["disk", "tree", "xx"]).unwrap_err().is::<UsageError>());
        assert!(parse(&["disk", "00"]).is_err());
    }

    #[test]
    fn formats_are_recognised_by_their_first_bytes() {
        let head = |at: usize, magic: &[u8]| [&vec![0; at][..], magic, &[0; 100]].concat();
        assert_eq!(recognise(&head(1024, &[0xe2, 0xe1, 0xf5, 0xe0])), Some(DiskFormat::Erofs));
        assert_eq!(recognise(&head(1080, &[0x53, 0xef])), Some(DiskFormat::Ext4));
        assert_eq!(recognise(&head(0, b"hsqs")), Some(DiskFormat::Squashfs));
        assert_eq!(recognise(&head(0, b"# Disk DescriptorFile\n")), Some(DiskFormat::ErofsMeta));
        assert_eq!(recognise(b""), None);
    }
}
