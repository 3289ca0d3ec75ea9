//! What may be typed. Help, completions and man pages are made of this.

mod boot;
mod export;
mod layer;
mod limits;
mod mount;
mod platform;
mod quantity;
mod registry;
mod virtiofs;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use boot::BootArguments;
pub(crate) use export::{ExportArguments, FileCompression, Format};
pub(crate) use layer::LayerCommand;
pub(crate) use limits::LimitArguments;
pub(crate) use mount::{Driver, MountArguments};
pub(crate) use platform::{PlatformArguments, Pull};
pub(crate) use registry::RegistryArguments;
pub(crate) use virtiofs::VirtiofsArguments;

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
    /// List the images that are here, or those for one platform
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
