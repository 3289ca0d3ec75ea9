//! The options of `boot` for disks beside the root.

use std::path::PathBuf;

use clap::Args;

use super::quantity::parse_size;

/// The size of a new disk for the writes of a guest, in bytes.
pub(crate) const DEFAULT_UPPER_SIZE: &str = "8G";

/// Options for the disk that keeps the writes, and for volumes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Disks")]
pub(crate) struct GuestDiskArguments {
    /// Let the guest write to a read-only root, and keep the changes on this disk, a file with an ext4. It is made if it is
    /// missing. Only one guest uses it at a time, always over the same image
    #[arg(long, value_name = "DISK")]
    pub(crate) upper: Option<PathBuf>,
    /// Make a missing --upper disk of this size; it takes no space until the guest writes
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_UPPER_SIZE, value_parser = parse_size, requires = "upper")]
    pub(crate) upper_size: u64,
    /// Use an --upper disk that was made over another image, and record this image
    #[arg(long, requires = "upper")]
    pub(crate) rebase: bool,
    /// Mount this disk in the guest, read-only with `:ro`: a file or block device with an ext4, or with another file system
    /// whose driver the kernel has
    #[arg(long = "volume", value_name = "FILE:/PATH[:ro]", value_parser = parse_volume)]
    pub(crate) volumes: Vec<VolumeArgument>,
}

/// A value of `--volume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeArgument {
    /// The disk.
    pub(crate) disk: PathBuf,
    /// The mount point.
    pub(crate) path: String,
    /// Whether the guest may only read it.
    pub(crate) read_only: bool,
}

/// Parses a volume. A colon in the name of the file is part of it: the mount point begins at the last `:/`.
fn parse_volume(text: &str) -> Result<VolumeArgument, String> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    let at = rest.rfind(":/").filter(|at| *at > 0).ok_or("expected FILE:/PATH, and `:ro` for a read-only disk")?;
    let components: Vec<&str> = rest[at + 1..].split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if components.is_empty() || components.contains(&"..") {
        return Err("the mount point is an absolute path below /, without `..`".to_owned());
    }
    Ok(VolumeArgument { disk: rest[..at].into(), path: format!("/{}", components.join("/")), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_a_file_and_a_mount_point() {
        let volume =
            |disk: &str, path: &str, read_only| VolumeArgument { disk: disk.into(), path: path.to_owned(), read_only };
        for (text, expected) in [
            ("data.ext4:/data", volume("data.ext4", "/data", false)),
            ("/a/b.img:/var//lib/./x/:ro", volume("/a/b.img", "/var/lib/x", true)),
            ("a:b:/c:rw", volume("a:b", "/c", false)),
            ("a:/b:/c", volume("a:/b", "/c", false)),
        ] {
            assert_eq!(parse_volume(text), Ok(expected), "{text}");
        }
        for text in ["", "file", "file:data", ":/data", "file:/", "file:/../x", "file:/a/../b", "file:ro"] {
            assert!(parse_volume(text).is_err(), "{text}");
        }
    }
}
