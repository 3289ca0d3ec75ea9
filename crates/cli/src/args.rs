//! What may be typed. Help, completions and man pages are made of this.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vmroot::{Platform, PullPolicy};

use crate::boot::BootArguments;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// Root file systems for VMs and microVMs from container images.
#[derive(Debug, Parser)]
#[command(name = "vmroot", version, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Directory of the cache [default: $XDG_CACHE_HOME/vmroot]
    #[arg(long, global = true, env = "VMROOT_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Print nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print results as JSON, where there is anything to parse
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on standard error; twice for details, three times for everything
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(flatten)]
    pub(crate) platform: PlatformArguments,
    /// When to ask the registry what a name means [default: always for `pull`, missing for other verbs]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) pull: Option<Pull>,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
}

/// Which image of several.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlatformArguments {
    /// Platform of the image, as in linux/arm64 or linux/arm/v7 [default: this machine's]
    #[arg(long, global = true, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "arch", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Architecture of the image, for short: amd64, arm64, x86_64, aarch64, arm/v7…
    #[arg(long, global = true, value_name = "ARCH", value_parser = architecture)]
    pub(crate) arch: Option<Platform>,
}

fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|error| error.to_string())
}

fn architecture(text: &str) -> Result<Platform, String> {
    Platform::linux(text).map_err(|error| error.to_string())
}

/// When to ask the registry what a name means.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Pull {
    /// Each time; a name with a digest means the same for ever
    Always,
    /// When the image is not here
    Missing,
    /// Never: the image must be here
    Never,
}

impl From<Pull> for PullPolicy {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Always => Self::Always,
            Pull::Missing => Self::Missing,
            Pull::Never => Self::Never,
        }
    }
}

/// The way to registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArguments {
    /// Speak plain HTTP to every registry, not to those on loopback only
    #[arg(long, global = true)]
    pub(crate) plain_http: bool,
    /// Trust the certificate authorities in this PEM file as well; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// User and password for the registry
    #[arg(long, global = true, env = "VMROOT_CREDS", hide_env_values = true, value_name = "USER:PASSWORD")]
    pub(crate) creds: Option<String>,
    /// Read credentials from this file alone [default: those of podman and docker]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "creds")]
    pub(crate) authfile: Option<PathBuf>,
    /// How often to try again what failed
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// How long a registry may send nothing
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) inactivity_timeout: Duration,
    /// How many layers to fetch and index at once
    #[arg(long, global = true, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a time longer than nothing".to_owned()),
    }
}

/// How far a hostile image may go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Most bytes that a layer may decompress to (K, M, G, T are powers of 1024)
    #[arg(long, global = true, value_name = "BYTES", default_value = "64G", value_parser = size)]
    pub(crate) max_layer_size: u64,
    /// Most bytes that may come out of a layer for each byte of its compressed form
    #[arg(long, global = true, value_name = "N", default_value_t = 400)]
    pub(crate) max_ratio: u64,
    /// Largest zstd window, as a power of two
    #[arg(long, global = true, value_name = "N", default_value = "27", value_parser = clap::value_parser!(u32).range(10..=31))]
    pub(crate) zstd_window_log: u32,
    /// Most entries that a layer may have
    #[arg(long, global = true, value_name = "N", default_value_t = 4_000_000)]
    pub(crate) max_entries: u32,
    /// Most bytes of files that a layer may have, holes of sparse files included
    #[arg(long, global = true, value_name = "BYTES", default_value = "64G", value_parser = size)]
    pub(crate) max_contents: u64,
    /// Most bytes of names, link targets and xattrs that one entry may have
    #[arg(long, global = true, value_name = "BYTES", default_value = "1M", value_parser = size)]
    pub(crate) max_metadata: u64,
    /// Most bytes of names, link targets and xattrs that a layer may have
    #[arg(long, global = true, value_name = "BYTES", default_value = "256M", value_parser = size)]
    pub(crate) max_names: u64,
}

/// A number with an optional K, M, G or T.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "not a number of bytes".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more bytes than there can be".to_owned())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch, verify and index an image; prints its id
    Pull {
        /// Reference (alpine:3.20, quay.io/x/y@sha256:…) or TRANSPORT:DETAILS (oci:DIR, docker-archive:FILE…)
        #[arg(required = true)]
        references: Vec<String>,
    },
    /// Take images from a docker save archive, an OCI archive or an OCI layout; prints what was loaded
    Load {
        /// The file or directory; `-` for standard input
        file: PathBuf,
        /// Load only this image of several: its reference, or @N counting from 0
        #[arg(long, value_name = "REF|@N")]
        image: Option<String>,
    },
    /// List the images that are here
    Images,
    /// Say what an image is; one that is not here is looked at in its registry
    Inspect {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS
        image: String,
        /// Look in the registry even if the image is here
        #[arg(long)]
        remote: bool,
    },
    /// Print how an image wants to be run
    Config {
        /// Reference, id, or prefix of an id
        image: String,
        /// Print the image's own config, byte for byte
        #[arg(long)]
        raw: bool,
    },
    /// Forget images; `gc` frees their space
    Rm {
        /// References, ids, or prefixes of ids: an id means all its names
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Remove everything that no image needs
    Gc {
        /// Only say what would be removed
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Say how much disk the cache takes
    Df,
    /// List a directory of an image
    Ls {
        /// The image
        image: String,
        /// The directory, or another path
        #[arg(default_value = "/")]
        path: PathBuf,
        /// Show attributes as well
        #[arg(long, short)]
        long: bool,
        /// List what is below as well
        #[arg(long, short = 'R')]
        recursive: bool,
    },
    /// Print the attributes of a path of an image
    Stat {
        /// The image
        image: String,
        /// The path
        path: PathBuf,
        /// Follow a symbolic link at the path's end
        #[arg(long, short = 'L')]
        dereference: bool,
    },
    /// Print files of an image
    Cat {
        /// The image
        image: String,
        /// The paths
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Print the target of a symbolic link of an image
    Readlink {
        /// The image
        image: String,
        /// The path
        path: PathBuf,
    },
    /// Print where a path of an image leads when all links are followed
    Resolve {
        /// The image
        image: String,
        /// The path
        path: PathBuf,
    },
    /// Mount an image's root, read-only
    Mount {
        /// The image, or a prebaked directory as prebaked:DIR
        image: String,
        /// The directory to mount on
        directory: PathBuf,
        #[command(flatten)]
        options: MountArguments,
    },
    /// Take a mount away
    Umount {
        /// The directory it is on
        directory: PathBuf,
    },
    /// Serve an image's root to a guest by virtio-fs, read-only, until its VMM disconnects
    Virtiofs {
        /// The image, or a prebaked directory as prebaked:DIR
        image: String,
        #[command(flatten)]
        options: VirtiofsArguments,
    },
    /// Boot a guest on an image's root, run the image's command in it, and exit with the command's code
    Boot {
        /// The image, or a prebaked directory as prebaked:DIR
        image: String,
        #[command(flatten)]
        options: Box<BootArguments>,
    },
    /// Write an image's root out, or the changes that were made on a writable view of one
    #[command(override_usage = "vmroot export [OPTIONS] --format <FORMAT> <IMAGE> <OUT>\n       \
                                vmroot export [OPTIONS] --from-upper <DIR> <OUT>")]
    Export {
        /// The image, or a prebaked directory as prebaked:DIR; none with --from-upper
        image: OsString,
        /// The file or directory to write; `-` for standard output
        #[arg(required_unless_present = "from_upper")]
        out: Option<PathBuf>,
        #[command(flatten)]
        options: ExportArguments,
    },
    /// Work on one layer
    #[command(subcommand)]
    Layer(LayerCommand),
    /// Check everything in the cache, say what is damaged, mend what can be mended
    Verify,
    /// Print a script that completes command lines
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages
    Man {
        /// The directory to write them to
        directory: PathBuf,
    },
}

/// How to mount.
#[derive(Debug, Clone, Args)]
pub(crate) struct MountArguments {
    /// What serves the mount; auto chooses, and -v says what
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Return when the mount answers, and serve it in the background
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Let other users see a FUSE mount; needs user_allow_other in /etc/fuse.conf unless root mounts
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Make a writable view: changes go to this directory; root only
    #[arg(long, value_name = "DIR", requires = "work")]
    pub(crate) upper: Option<PathBuf>,
    /// An empty directory for the writable view to work in, on the same file system as --upper
    #[arg(long, value_name = "DIR", requires = "upper")]
    pub(crate) work: Option<PathBuf>,
    /// Honour setuid bits and device nodes of the image; root only
    #[arg(long)]
    pub(crate) suid_dev: bool,
    /// How many threads answer the kernel of a FUSE mount [default: one for each CPU, from 2 to 8]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// What serves a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// The best there is
    Auto,
    /// A process of ours, by FUSE
    Fuse,
    /// The kernel, by EROFS over the cache's own files; root only, from Linux 6.12 on
    Erofs,
}

/// How to serve a root.
#[derive(Debug, Clone, Args)]
pub(crate) struct VirtiofsArguments {
    /// The socket that the VMM connects to; when it is there, the VMM may
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// How many request queues the VMM may ask for, 1 to 63 [default: one for each CPU, 8 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=63))]
    pub(crate) queues: Option<u8>,
    /// How many threads help a queue in which several reads wait, 0 to 64 [default: one for each CPU, from 4 to 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=64))]
    pub(crate) threads: Option<u8>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// How to write a root out.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArguments {
    /// The form; with --from-upper it may be left out where OUT ends in .tar, .tar.gz or .tar.zst
    #[arg(long, value_enum, required_unless_present = "from_upper")]
    pub(crate) format: Option<Format>,
    /// Write the upper directory of an overlay, such as `mount --upper` has, as a layer: changes, deletions and all
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rootless", "config_out", "layer", "add", "init"])]
    pub(crate) from_upper: Option<PathBuf>,
    /// Record owners, devices and modes that only root may set in user.* xattrs instead (dir only)
    #[arg(long)]
    pub(crate) rootless: bool,
    /// Compress the contents of files [default for squashfs: zstd, for erofs none] (erofs, squashfs)
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub(crate) compress: Option<FileCompression>,
    /// Compression level (gz: 0 to 9, zst and zstd: 1 to 22, lz4: 1 to 9)
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<i32>,
    /// How large the file system is, in bytes, or with K, M, G or T [default: as small as can be] (ext4)
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) size: Option<u64>,
    /// How much can be written to the file system, at least (ext4)
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) free: Option<u64>,
    /// Give the file system a journal (ext4)
    #[arg(long)]
    pub(crate) journal: bool,
    /// Name the file system, in up to 16 bytes (ext4)
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// Write how to run the image to this file as well: the config.json of a prebaked directory
    #[arg(long, value_name = "FILE")]
    pub(crate) config_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// How the contents of files are compressed in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileCompression {
    /// Fast to read; EROFS has it from Linux 5.4 on
    Lz4,
    /// Smaller; EROFS has it from Linux 6.10 on
    Zstd,
}

/// The forms of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A directory that another machine opens as it is
    Prebaked,
    /// Plain files
    Dir,
    /// A tar
    Tar,
    /// A tar, compressed by gzip
    #[value(name = "tar.gz")]
    TarGz,
    /// A tar, compressed by zstd
    #[value(name = "tar.zst")]
    TarZst,
    /// An initramfs (cpio, newc)
    Cpio,
    /// An initramfs, compressed by gzip
    #[value(name = "cpio.gz")]
    CpioGz,
    /// An initramfs, compressed by zstd
    #[value(name = "cpio.zst")]
    CpioZst,
    /// An EROFS image with everything in it
    Erofs,
    /// An EROFS image of the metadata, with the cache's own files as its devices; OUT.vmdk joins them to one disk
    ErofsMeta,
    /// An ext4 image, which a guest can write to
    Ext4,
    /// A squashfs image; needs sqfstar of squashfs-tools
    Squashfs,
}

/// Work on one layer.
#[derive(Debug, Subcommand)]
pub(crate) enum LayerCommand {
    /// Read a layer's tar, compressed or not, and write its .idx and .contents; prints the diff id
    Index {
        /// The tar; `-` for standard input
        tar: PathBuf,
        /// Where to write
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
    /// Check an .idx, and every file in the .contents beside it
    Verify {
        /// The .idx
        index: PathBuf,
    },
    /// Print an .idx as text, one line a path
    Dump {
        /// The .idx
        index: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    /// The tables of docs/limits.md with an option in each row: what, default, option, name.
    #[test]
    fn the_page_of_limits_has_every_option_and_its_default() {
        let page = include_str!("../../../docs/limits.md");
        let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let rows: Vec<Vec<String>> = page.lines().filter(|line| line.contains("| `--")).map(cells).collect();
        let command = Arguments::command();
        let option = |name: &str| command.get_arguments().find(|argument| argument.get_long() == Some(name));
        for row in &rows {
            let name = row[2].trim_matches('`').trim_start_matches("--");
            let argument = option(name).unwrap_or_else(|| panic!("{name} is no option"));
            assert_eq!(argument.get_default_values(), [row[1].as_str()], "{name}");
        }
        for argument in command.get_arguments().filter(|argument| argument.get_help_heading() == Some("Limits")) {
            let option = format!("`--{}`", argument.get_long().unwrap());
            assert!(rows.iter().any(|row| row[2] == option), "docs/limits.md has no {option}");
        }
    }
}
