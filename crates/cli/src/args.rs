//! The command line. Help, completions and man pages are generated from these definitions.

mod boot;
mod changes;
mod commit;
mod copy;
mod disk;
mod encryption;
mod examples;
mod export;
mod files;
mod gc;
mod guest_disks;
mod guest_network;
mod images;
mod inspect;
mod layer;
mod lease;
mod limits;
mod login;
mod mount;
mod platform;
mod policy;
mod progress;
mod provenance;
mod quantity;
mod registries;
mod registry;
mod repository;
mod resources;
mod root_hash;
mod signing;
mod skopeo;
mod switches;
mod sync;
mod verbs;
mod verify;
mod verity;
mod virtiofs;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use vmroot::Platform;

use crate::{environment, failure, usage};

pub(crate) use boot::{BootArguments, Form};
pub(crate) use changes::{DiffArguments, HistoryArguments};
pub(crate) use commit::{CommitArguments, LayerCompression};
pub(crate) use copy::{
    CompressFormat, CompressionArguments, CopyArguments, DestinationSide, ImageArguments, ListArgument,
    ManifestFormatArgument, MultiArch, SourceArguments, TransferArguments,
};
pub(crate) use disk::{CreateArguments, DiskCommand, DiskLsArguments, DiskServeArguments};
pub(crate) use encryption::{DecryptionArguments, EncryptionArguments};
pub(crate) use export::{ExportArguments, FileCompression, Format};
pub(crate) use files::{CpArguments, LsArguments};
pub(crate) use gc::GcArguments;
pub(crate) use guest_disks::{GuestDiskArguments, VolumeArgument};
pub(crate) use guest_network::{GuestNetworkArguments, NetworkName};
pub(crate) use images::{ImagesArguments, TagArguments};
pub(crate) use inspect::{DigestAlgorithm, InspectArguments};
pub(crate) use layer::LayerCommand;
pub(crate) use lease::LeaseCommand;
pub(crate) use limits::LimitArguments;
pub(crate) use login::{LoginArguments, LogoutArguments};
pub(crate) use mount::{Driver, MountArguments, UmountArguments};
pub(crate) use platform::{PlatformArguments, Pull, PullArguments};
pub(crate) use policy::{PolicyArguments, PolicyCommand};
pub(crate) use progress::ProgressMode;
pub(crate) use provenance::ProvenanceArguments;
pub(crate) use registries::RegistriesCommand;
pub(crate) use registry::{RegistryArguments, RegistryFiles};
pub(crate) use repository::{DeleteArguments, RemoteArgument, RepositoryArgument};
pub(crate) use resources::ResourceArguments;
pub(crate) use root_hash::{DiskFormat, RootHashArguments};
pub(crate) use signing::{
    AttestArguments, GenerateKeyArguments, SignArguments, SignatureForm, SigningArguments, StandaloneSignArguments,
    StandaloneVerifyArguments, VerifySignatureArguments,
};
pub(crate) use skopeo::RetryArguments;
pub(crate) use sync::{SyncArguments, SyncFrom, SyncTo};
pub(crate) use verbs::{fetches_images, uses_policy};
pub(crate) use verify::VerifyArguments;
pub(crate) use verity::{Salt, TreeArguments, VerityCommand};
pub(crate) use virtiofs::VirtiofsArguments;

/// Root file systems for VMs and microVMs from container images.
#[derive(Debug, Parser)]
#[command(name = "vmroot", version, max_term_width = 120, args_override_self = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Returns the definition of the command line, in which each command has the groups of options that it uses.
    pub(crate) fn program() -> clap::Command {
        Self::program_for(|_| true)
    }

    /// Returns the definition as [`Self::program`], in which only the needed commands are complete: that takes half of the
    /// time of a start.
    fn program_for(needed: impl Fn(&clap::Command) -> bool) -> clap::Command {
        // clap would take `CLICOLOR_FORCE=0` as a wish for colours.
        let colour = match environment::wants_colour(io::stdout().is_terminal()) {
            true => clap::ColorChoice::Always,
            false => clap::ColorChoice::Never,
        };
        prepared(verbs::with_groups(Self::command(), needed)).color(colour)
    }

    /// Parses the command line of this process, and returns it with the name of the command, such as
    /// `lease create`. Ends the process after `--help`, and after an error with exit code 2.
    pub(crate) fn of_process() -> (Self, String) {
        let given: Vec<OsString> = std::env::args_os().collect();
        let program = Self::program_for(|verb| given.iter().any(|word| word == verb.get_name()));
        let words = switches::with_human_sizes(switches::without_values(&program, given));
        if words.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json") {
            failure::report_as_json();
        }
        Self::parse(program, words.clone()).unwrap_or_else(|error| usage::exit(&error, Self::program(), &words))
    }

    /// Parses a command line, and returns it with the name of the command.
    #[cfg(test)]
    fn parse_words(words: impl IntoIterator<Item = OsString>) -> clap::error::Result<(Self, String)> {
        let program = Self::program();
        let words = switches::without_values(&program, words);
        Self::parse(program, words)
    }

    /// Parses a command line without switches that have values.
    fn parse(program: clap::Command, words: Vec<OsString>) -> clap::error::Result<(Self, String)> {
        let matches = program.try_get_matches_from(words)?;
        verbs::check(&matches)?;
        let mut names = Vec::new();
        let mut inner = &matches;
        while let Some((name, next)) = inner.subcommand() {
            names.push(name);
            inner = next;
        }
        let name = names.join(" ");
        let arguments = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut Self::program()))?;
        Ok((arguments, name))
    }
}

/// The names of values that are numbers.
const NUMBERS: [&str; 6] = ["N", "BYTES", "SECONDS", "DURATION", "TIME", "LEVEL"];

/// Takes a number such as `-1` as the value of an option, so that the error says which numbers there are. clap would take
/// it as an option.
fn with_negative_numbers(argument: clap::Arg) -> clap::Arg {
    let is_number = |names: &[clap::builder::Str]| names.iter().any(|name| NUMBERS.contains(&name.as_str()));
    let takes_number = argument.get_long().is_some() && argument.get_value_names().is_some_and(is_number);
    if takes_number { argument.allow_negative_numbers(true) } else { argument }
}

/// Makes an empty environment variable count as unset. clap would take it as an empty value.
fn without_empty_variable(argument: clap::Arg) -> clap::Arg {
    match argument.get_env().is_some_and(environment::is_empty) {
        true => argument.env(None::<&'static str>),
        false => argument,
    }
}

/// Prepares the arguments of a command and of those below it.
fn prepared(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| with_negative_numbers(without_empty_variable(argument))).mut_subcommands(prepared)
}

/// The options of every command, and the groups of options that several commands share. [`verbs`] says which command has
/// which group.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Keep the cache in this directory [default: $XDG_CACHE_HOME/vmroot, or ~/.cache/vmroot]
    #[arg(long, global = true, env = "VMROOT_CACHE", value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Use the images and layers of this cache in place, which is only read; can be repeated
    /// [default: $VMROOT_SHARED_CACHE, directories separated by colons]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub(crate) shared_cache: Vec<PathBuf>,
    /// Remove the least recently used images before the cache takes more disk space than this [default: no limit]
    #[arg(long, global = true, env = "VMROOT_MAX_CACHE_SIZE", value_name = "BYTES", value_parser = quantity::parse_size)]
    #[arg(hide_short_help = true)]
    pub(crate) max_cache_size: Option<u64>,
    /// Print only results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print results as JSON: an object, or for lists an array
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to standard error: -v for information, -vv for debugging, -vvv for everything
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Show progress on standard error in this form [default: bar on a terminal, plain elsewhere; none with --quiet]
    #[arg(long, global = true, env = "VMROOT_PROGRESS", value_name = "FORM", hide_short_help = true)]
    pub(crate) progress: Option<ProgressMode>,
    /// Log for debugging [same as -vv]
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) debug: bool,
    /// End after this time, such as 30s or 1m30s, with exit code 124
    #[arg(long, global = true, value_name = "DURATION", value_parser = quantity::parse_duration, hide_short_help = true)]
    pub(crate) command_timeout: Option<Duration>,
    /// Print help: -h prints a summary, --help prints all options and examples
    #[arg(long, short = 'h', global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print the version
    #[arg(long, short = 'V', action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    pub(crate) platform: PlatformArguments,
    #[command(flatten)]
    pub(crate) pull: PullArguments,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    #[command(flatten)]
    pub(crate) decryption: DecryptionArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) resources: ResourceArguments,
}

impl Global {
    /// Returns these options with those of skopeo in their places.
    ///
    /// # Errors
    /// The text says which option cannot be used.
    pub(crate) fn with_skopeo(mut self) -> Result<Self, String> {
        if self.registry.plain_http && self.registry.tls_verify == Some(true) {
            return Err("--plain-http does not go with --tls-verify, which requires HTTPS".to_owned());
        }
        if let Some(platform) = self.platform.overrides.platform()? {
            // clap does not compare options before a command with those after it.
            if self.platform.platform.is_some() || self.platform.arch.is_some() {
                return Err(
                    "--override-os, --override-arch and --override-variant do not go with --platform and --arch"
                        .to_owned(),
                );
            }
            self.platform.platform = Some(platform);
        }
        if self.debug {
            self.verbose = self.verbose.max(2);
        }
        Ok(self)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch, verify and index images, and print their ids
    Pull {
        /// Reference (alpine:3.20, quay.io/x/y@sha256:…) or TRANSPORT:DETAILS (oci:DIR, docker-archive:FILE…)
        #[arg(required = true, value_name = "IMAGE")]
        references: Vec<String>,
        /// Pull the image for this platform, as in linux/arm64 or linux/arm/v7 (repeatable) [default: this machine's; the
        /// only image of an archive is used for any platform]
        #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "arch", value_parser = platform::parse_platform)]
        platform: Vec<Platform>,
    },
    /// Load images from docker save archives, OCI archives or OCI layouts, all or none, and print their ids
    Load {
        /// The archives or the layouts' directories; `-` is standard input
        #[arg(required_unless_present = "input", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// One more archive, as `docker load` names it
        #[arg(long, short, value_name = "FILE")]
        input: Option<PathBuf>,
        /// Load only this image: its reference, or @N for its position, counting from 0 [default: all images]
        #[arg(long, value_name = "REF|@N")]
        image: Option<String>,
        /// Load the images for this platform (repeatable) [default: for all, if this machine's is one of them]
        #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "arch", value_parser = platform::parse_platform)]
        #[arg(help_heading = "Image options")]
        platform: Vec<Platform>,
        /// Load images for several platforms even if this machine's is not one of them
        #[arg(long, help_heading = "Image options")]
        all_platforms: bool,
    },
    /// Save images of the cache as one archive, which Docker, podman, skopeo and buildah load
    Save {
        /// NAME:TAG, NAME for all its tags, or an id
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// Save the images for this platform (repeatable) [default: for all in the cache; docker-archive-v24: for this
        /// machine's, or else one other]
        #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "arch", value_parser = platform::parse_platform)]
        #[arg(help_heading = "Image options")]
        platform: Vec<Platform>,
        /// Write to this file, which appears when it is complete [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// docker-archive (a docker save archive and an OCI layout at once), docker-archive-v24 (the form of Docker up to
        /// 24, with uncompressed layers), or oci-archive
        #[arg(long, value_name = "FORMAT", default_value_t)]
        format: vmroot::SaveFormat,
    },
    /// Make an image of another one: with one more layer, or with changes of its config, and print its id
    Commit {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS of the parent
        image: String,
        /// The tar of the layer, in any compression; `-` is standard input
        layer: Option<PathBuf>,
        #[command(flatten)]
        options: Box<CommitArguments>,
    },
    /// Copy an image, a list or an artifact between registries, archives, layouts, directories and the cache
    Copy {
        /// TRANSPORT:DETAILS of the image to copy: docker://NAME, oci:DIR:TAG, docker-archive:FILE, vmroot:IMAGE…
        source: String,
        /// TRANSPORT:DETAILS of the copy
        destination: String,
        #[command(flatten)]
        options: Box<CopyArguments>,
    },
    /// Copy all images of a repository, a directory, a layout or a list, for a mirror
    #[command(override_usage = "vmroot sync [OPTIONS] --src <KIND> --dest <KIND> <SOURCE> <DESTINATION>")]
    Sync {
        /// The repository, directory, OCI layout or YAML file
        source: String,
        /// The registry or prefix of repositories, the directory, or the OCI layout
        destination: String,
        #[command(flatten)]
        options: Box<SyncArguments>,
    },
    /// List the images in the cache; with --quiet, print only their ids
    Images(ImagesArguments),
    /// Print an image's id, platform, layers and config, from the cache or else from its registry
    Inspect {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS
        image: String,
        #[command(flatten)]
        options: InspectArguments,
    },
    /// Print how to run an image: command, environment, working directory and user
    Config {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS
        image: String,
        /// Print the image's config as it is stored, byte for byte
        #[arg(long)]
        raw: bool,
    },
    /// Print the tags of a repository, one a line
    Tags(RepositoryArgument),
    /// Print the tags of a repository or of a docker-archive: as JSON, like skopeo
    ListTags {
        /// docker://REPOSITORY, or docker-archive:FILE
        name: String,
        #[command(flatten)]
        retries: RetryArguments,
    },
    /// Print the digest of a manifest in a file
    ManifestDigest {
        /// The file
        file: PathBuf,
    },
    /// Print the repositories of a registry, one a line
    Repos {
        /// The host of the registry, such as quay.io
        registry: String,
    },
    /// Print the manifests of a repository with their sizes, times and tags, oldest first
    Instances(RepositoryArgument),
    /// Print the digest of an image in its registry
    Digest(RemoteArgument),
    /// Print the documents that refer to an image in its registry: signatures, bills of materials, attestations
    Referrers {
        #[command(flatten)]
        image: RemoteArgument,
        /// Print only documents of this type
        #[arg(long, value_name = "TYPE")]
        artifact_type: Option<String>,
    },
    /// Give an image of the cache further names, or an image of a registry further tags; its digest stays the same
    ///
    /// An image that the cache has is tagged there, for each of its platforms in the cache. With docker://, with
    /// --remote, or if the cache does not have it, the tag is set in the registry.
    Tag(TagArguments),
    /// Take names from images of the cache; an image without a name stays, until `rm` or `gc --dangling`
    Untag {
        /// NAME or NAME:TAG, for all platforms, unless --platform is given
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Delete an image from its registry by its digest, and so with all its tags, or from an OCI layout
    Delete(DeleteArguments),
    /// Remove images; `gc` frees their space
    Rm {
        /// References, ids, or prefixes of ids; an id removes all names of its image
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// Remove images that processes, mounts, leases or child images need; files in use stay until the use ends
        #[arg(long, short)]
        force: bool,
    },
    /// Remove the cache's files that no image needs, and on request images; files in use stay
    Gc(GcArguments),
    /// Keep images in the cache, even if their names move or are removed
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Print the disk usage of the cache, or of images and of the layers and roots that they share
    ///
    /// UNIQUE SIZE is the space that removing the image and `gc` free. SHARED SIZE is that of files which other images
    /// need as well.
    Df {
        /// References, ids, or prefixes of ids [default: all areas of the cache]
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
        /// Print the space of every image, layer and root, as `docker system df -v` does; so does -v
        #[arg(long = "images", conflicts_with = "images")]
        all: bool,
    },
    /// List directories and files of an image
    Ls(LsArguments),
    /// Copy a file or a directory of an image to this machine, as `docker cp` does
    ///
    /// If DEST is a directory, the copy is put into it under its own name. Otherwise DEST is the name of the copy, and its
    /// directory must exist. A PATH that ends in `/.` stands for the entries of a directory. Directories are merged, and
    /// files and links of the same name are replaced; a file does not replace a directory, nor a directory a file. A
    /// symbolic link is copied as a link, unless a slash follows it or --follow-link is given. Links below DEST are not
    /// followed. The copies belong to you, with the modes, times, xattrs and hard links of the image, but a program stays
    /// setuid or setgid only if you are its owner and group in the image.
    #[command(override_usage = "vmroot cp [OPTIONS] <IMAGE:/PATH> <DEST|->\n       \
                                vmroot cp [OPTIONS] <IMAGE> <PATH> <DEST|->")]
    Cp(CpArguments),
    /// Print the attributes of a file of an image
    Stat {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        /// The path of the file
        path: PathBuf,
        /// Follow the path's last component if it is a symbolic link
        #[arg(long, short = 'L')]
        dereference: bool,
    },
    /// Print the contents of files of an image
    Cat {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        /// The paths of the files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Print the target of a symbolic link of an image
    Readlink {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        /// The path of the link
        path: PathBuf,
    },
    /// Resolve all symbolic links of a path of an image, and print the resulting path
    Resolve {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        /// The path to resolve
        path: PathBuf,
    },
    /// Print the paths at which two images differ: added (A), removed (D) and changed (C) ones
    Diff {
        /// The old image: reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        old: String,
        /// The new image; --platform and --arch apply to both
        new: String,
        #[command(flatten)]
        options: DiffArguments,
    },
    /// Print which layer brought a path of an image or deleted it, and which versions it hides
    Why {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS
        image: String,
        /// The path; symbolic links in its directories are followed
        path: PathBuf,
    },
    /// Print the steps of building an image and the bytes of their layers, the last step first
    ///
    /// SIZE is that of `docker history`: the files of the layer and the targets of its symbolic links. VISIBLE is the
    /// part that the image's root shows: files that later layers replace or delete do not count.
    History {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS
        image: String,
        #[command(flatten)]
        options: HistoryArguments,
    },
    /// Mount an image's root, read-only
    Mount {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        /// The mountpoint: a directory
        directory: PathBuf,
        #[command(flatten)]
        options: MountArguments,
    },
    /// Unmount an image's root, and only what vmroot mounted
    Umount(UmountArguments),
    /// List the mounts of vmroot, of all caches
    Mounts,
    /// Serve an image's root to a guest over virtio-fs, read-only, until its VMM disconnects
    Virtiofs {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        #[command(flatten)]
        options: VirtiofsArguments,
    },
    /// Boot a guest on an image's root, run the image's command in it, and exit with the command's code
    #[command(override_usage = "vmroot boot [OPTIONS] --kernel <FILE> <IMAGE> [-- <CMD>...]")]
    Boot {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR
        image: String,
        #[command(flatten)]
        options: Box<BootArguments>,
    },
    /// Write an image's root as a directory, an archive or a file system, or the changes of a writable mount as a layer
    #[command(override_usage = "vmroot export [OPTIONS] <IMAGE> <OUT>\n       \
                                vmroot export [OPTIONS] --from-upper <DIR|DISK> <OUT>")]
    Export {
        /// Reference, id, prefix of an id, TRANSPORT:DETAILS, or prebaked:DIR; omit it with --from-upper
        image: OsString,
        /// The file or directory to write; `-` is standard output
        #[arg(required_unless_present = "from_upper")]
        out: Option<PathBuf>,
        #[command(flatten)]
        options: ExportArguments,
    },
    /// Index, verify or print one layer, without a cache
    #[command(subcommand)]
    Layer(LayerCommand),
    /// Work with disks for guests
    #[command(subcommand)]
    Disk(DiskCommand),
    /// Work on hash trees of dm-verity, which let a kernel verify a disk image block by block
    #[command(subcommand)]
    Verity(VerityCommand),
    /// Verify every file in the cache, and print the damaged ones; with --repair, repair them
    ///
    /// The exit code is 5 if damage is left. --repair fetches blobs again from the registry, archive or layout of their
    /// image, and rebuilds layers, roots and records. It moves files that cannot be repaired to the directory
    /// `quarantine` of the cache.
    Verify {
        #[command(flatten)]
        options: VerifyArguments,
    },
    /// Log in to a registry: check user and password, and store them where podman, skopeo and docker find them
    Login {
        #[command(flatten)]
        options: LoginArguments,
    },
    /// Log out of a registry: remove user and password
    Logout {
        #[command(flatten)]
        options: LogoutArguments,
    },
    /// Explain the configuration of registries
    #[command(subcommand)]
    Registries(RegistriesCommand),
    /// Explain the policy on signatures, and check images of the cache against it
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the chain from the name of an image to its root: signatures, manifest, config, layers, root hash
    ///
    /// Each document is read, and must name the next one by its digest. With a policy, the signatures that were kept with the
    /// image are verified again; the exit code is 5 if the policy does not accept the image.
    Provenance {
        /// Reference, id, prefix of an id, or TRANSPORT:DETAILS
        image: String,
        #[command(flatten)]
        options: Box<ProvenanceArguments>,
    },
    /// Sign an image or list in its registry with a sigstore key, and print the digest
    Sign {
        /// Reference (registry.example/app:1), with or without docker://
        #[arg(value_name = "REFERENCE")]
        image: String,
        #[command(flatten)]
        options: SignArguments,
    },
    /// Verify that an image or list in a registry is signed by a sigstore key, and print the verified digest
    VerifySignature {
        /// Reference (registry.example/app:1), with or without docker://
        #[arg(value_name = "REFERENCE")]
        image: String,
        #[command(flatten)]
        options: VerifySignatureArguments,
    },
    /// Sign a statement about an image in its registry, and print the digest of the image
    Attest {
        /// Reference (registry.example/app:1), with or without docker://
        #[arg(value_name = "REFERENCE")]
        image: String,
        #[command(flatten)]
        options: AttestArguments,
    },
    /// Print the verified attestations about an image in a registry; --json prints their predicates
    Attestations {
        /// Reference (registry.example/app:1), with or without docker://
        #[arg(value_name = "REFERENCE")]
        image: String,
        #[command(flatten)]
        options: VerifySignatureArguments,
    },
    /// Sign a manifest in a file with an OpenPGP key
    StandaloneSign(StandaloneSignArguments),
    /// Verify an OpenPGP signature of a manifest in a file
    StandaloneVerify(StandaloneVerifyArguments),
    /// Generate a key pair for sigstore signatures
    GenerateSigstoreKey(GenerateKeyArguments),
    /// Print a shell's completion script, which completes commands, options, images, paths in them, mounts and leases
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages
    Man {
        /// The directory for the pages
        directory: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_valid() {
        Arguments::program().debug_assert();
    }

    /// Reads the tables of `docs/limits.md` that have an option in each row: quantity, default, option, name.
    #[test]
    fn limits_page_lists_every_option_and_its_default() {
        let page = include_str!("../../../docs/limits.md");
        let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let rows: Vec<Vec<String>> = page.lines().filter(|line| line.contains("| `--")).map(cells).collect();
        let command = Arguments::program();
        let option = |name: &str| command.get_arguments().find(|argument| argument.get_long() == Some(name));
        for row in &rows {
            let name = row[2].trim_matches('`').trim_start_matches("--");
            let argument = option(name).unwrap_or_else(|| panic!("{name} is not an option"));
            assert_eq!(argument.get_default_values(), [row[1].as_str()], "{name}");
        }
        for argument in command.get_arguments().filter(|argument| argument.get_help_heading() == Some("Limits")) {
            let option = format!("`--{}`", argument.get_long().unwrap());
            assert!(rows.iter().any(|row| row[2] == option), "docs/limits.md has no {option}");
        }
    }
}
