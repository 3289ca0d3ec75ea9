//! The commands by subject, and the groups of options that each of them uses.
//!
//! A group's options are defined once, in [`Global`](super::Global). The program accepts them before and after a command
//! that uses the group. Other commands do not show them, and [`check`] refuses them.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command, Id};

use super::examples;
use super::{
    DecryptionArguments, LimitArguments, PlatformArguments, PolicyArguments, PullArguments, RegistryArguments,
    RegistryFiles, ResourceArguments,
};

/// Options that several commands share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// The choice of a platform.
    Platform,
    /// The choice between the cache and a registry.
    Pull,
    /// Requests to registries.
    Registry,
    /// The files with credentials and the configuration of registries, which are part of [`Self::Registry`].
    RegistryFiles,
    /// The policy on signatures.
    Policy,
    /// Keys of encrypted layers.
    Decryption,
    /// Limits on layers.
    Limits,
    /// Connections and temporary files.
    Resources,
}

use Group::{Decryption, Limits, Platform, Policy, Pull, Registry, RegistryFiles as Files, Resources};

/// A command: its name on the command line, its line in the list of commands, and the groups that it uses.
type Verb = (&'static str, &'static str, &'static [Group]);

/// The groups of commands that read an image, from the cache or a registry.
const IMAGE: &[Group] = &[Platform, Pull, Registry, Policy, Decryption, Limits, Resources];
/// The groups of commands that read archives, and ask no registry.
const READ_ARCHIVE: &[Group] = &[Platform, Policy, Decryption, Limits, Resources];
/// The groups of commands that write archives.
const WRITE_ARCHIVE: &[Group] = &[Platform, Limits, Resources];
/// The groups of commands that fetch damaged parts of images again.
const REPAIR: &[Group] = &[Pull, Registry, Decryption, Limits, Resources];
/// The groups of commands that copy images.
const COPY: &[Group] = &[Platform, Registry, Policy, Decryption, Limits, Resources];

/// All commands, by subject.
pub(crate) const SUBJECTS: &[(&str, &[Verb])] = &[
    (
        "Get, make and copy images",
        &[
            ("pull", "Fetch images, and print their ids", IMAGE),
            ("load", "Load images from archives", READ_ARCHIVE),
            ("save", "Save images as an archive", WRITE_ARCHIVE),
            ("commit", "Make an image of another one, with one more layer", IMAGE),
            ("copy", "Copy an image between registries, archives, directories", COPY),
            ("sync", "Copy all images of a repository, a directory or a list", COPY),
        ],
    ),
    (
        "Describe images",
        &[
            ("images", "List the images in the cache", &[Platform]),
            ("inspect", "Print an image's id, platform, layers and config", IMAGE),
            ("config", "Print how to run an image", IMAGE),
            ("history", "Print the steps of building an image", IMAGE),
            ("diff", "Print the paths at which two images differ", IMAGE),
            ("why", "Print which layer brought a path, or deleted it", IMAGE),
        ],
    ),
    (
        "Read the files of an image",
        &[
            ("ls", "List directories and files", IMAGE),
            ("cat", "Print the contents of files", IMAGE),
            ("cp", "Copy a file or a directory to this machine", IMAGE),
            ("stat", "Print the attributes of a file", IMAGE),
            ("readlink", "Print the target of a symbolic link", IMAGE),
            ("resolve", "Resolve all symbolic links of a path", IMAGE),
        ],
    ),
    (
        "Use an image as a root file system",
        &[
            ("mount", "Mount an image's root", IMAGE),
            ("umount", "Unmount an image's root", &[]),
            ("mounts", "List the mounts of images", &[]),
            ("export", "Write an image's root as a directory, archive or disk", IMAGE),
            ("virtiofs", "Serve an image's root to a guest over virtio-fs", IMAGE),
            ("disk serve", "Serve an image's root as a disk that is never written", IMAGE),
            ("boot", "Boot a guest on an image's root", IMAGE),
            ("disk create", "Make a writable disk, empty or with a root", IMAGE),
            ("disk grow", "Make a disk larger, in place", &[]),
            ("disk clone", "Copy a disk, by shared blocks where possible", &[]),
            ("disk info", "Describe a disk", &[]),
            ("disk ls", "List a directory of a disk", &[]),
            ("disk cat", "Print files of a disk", &[]),
        ],
    ),
    (
        "Manage the cache",
        &[
            ("tag", "Give an image further names", &[Platform, Registry]),
            ("untag", "Take names from images", &[Platform]),
            ("rm", "Remove images", &[Platform]),
            ("gc", "Remove the files that no image needs", &[]),
            ("df", "Print the disk usage", &[Platform]),
            ("lease create", "Keep images in the cache", &[Platform]),
            ("lease list", "List the leases", &[]),
            ("lease release", "End leases", &[]),
            ("verify", "Verify every file in the cache, and repair it", REPAIR),
        ],
    ),
    (
        "Work with registries",
        &[
            ("login", "Log in to a registry", &[Registry]),
            ("logout", "Log out of a registry", &[Files]),
            ("tags", "Print the tags of a repository, one a line", &[Registry]),
            ("list-tags", "Print the tags of a repository as JSON, like skopeo", &[Registry, Limits, Resources]),
            ("repos", "Print the repositories of a registry", &[Registry]),
            ("instances", "Print the manifests of a repository", &[Registry]),
            ("digest", "Print the digest of an image in its registry", &[Registry]),
            ("referrers", "Print the signatures and documents of an image", &[Registry]),
            ("delete", "Delete an image from its registry or an OCI layout", &[Registry]),
            ("manifest-digest", "Print the digest of a manifest in a file", &[]),
            ("registries explain", "Print the configuration that a name would use", &[Registry]),
        ],
    ),
    (
        "Trust images",
        &[
            ("policy explain", "Print the requirements on an image's signatures", COPY),
            ("policy check", "Check the signatures of an image in the cache", &[Platform, Policy, Files]),
            ("provenance", "Print the chain from an image's signature to its root", IMAGE),
            ("sign", "Sign an image in its registry", &[Registry]),
            ("verify-signature", "Verify that a key signed an image in its registry", &[Registry]),
            ("attest", "Sign a statement about an image in its registry", &[Registry]),
            ("attestations", "Print the verified attestations of an image", &[Registry]),
            ("standalone-sign", "Sign a manifest in a file", &[]),
            ("standalone-verify", "Verify a signature in a file", &[]),
            ("generate-sigstore-key", "Generate a key pair for signatures", &[]),
        ],
    ),
    (
        "Other",
        &[
            ("layer index", "Read a layer's tar, and write its index and contents", &[Limits]),
            ("layer verify", "Verify a layer's index and contents", &[]),
            ("layer dump", "Print a layer's index as text", &[]),
            ("verity format", "Write the dm-verity hash tree of a disk image", &[]),
            ("verity verify", "Verify a disk image against its root hash", IMAGE),
            ("verity dump", "Print the superblock of a hash tree", &[]),
            ("completions", "Print a shell's completion script", &[]),
            ("man", "Write the man pages", &[]),
        ],
    ),
];

/// The help of options of groups that have another default in a command.
const OTHER_HELP: [(&str, &str, &str); 6] = [
    ("images", "platform", "List only images for this platform, as in linux/arm64 or linux/arm/v7"),
    ("images", "arch", "List only images for this architecture of Linux: amd64, arm64, x86_64, aarch64, arm/v7…"),
    ("untag", "platform", "Take the names only from images for this platform [default: from all]"),
    ("untag", "arch", "Take the names only from images for this architecture of Linux: amd64, arm64…"),
    ("tag", "platform", "Tag only the image for this platform [default: those for all platforms in the cache]"),
    ("tag", "arch", "Tag only the image for this architecture of Linux: amd64, arm64…"),
];

/// The commands of skopeo, after which its scripts have options that stand before every command.
const SKOPEO_VERBS: [&str; 11] = [
    "copy",
    "delete",
    "generate-sigstore-key",
    "inspect",
    "list-tags",
    "login",
    "logout",
    "manifest-digest",
    "standalone-sign",
    "standalone-verify",
    "sync",
];
/// The options that skopeo has before every command.
const SKOPEO_OPTIONS: [&str; 10] = [
    "insecure_policy",
    "policy",
    "registries_d",
    "require_signed",
    "override_os",
    "override_arch",
    "override_variant",
    "tmpdir",
    "tls_details",
    "user_agent_prefix",
];

impl Group {
    const ALL: [Self; 8] = [Platform, Pull, Registry, Files, Policy, Decryption, Limits, Resources];

    /// Returns the ids of the options.
    fn ids(self) -> Vec<Id> {
        let empty = Command::new("");
        let command = match self {
            Platform => PlatformArguments::augment_args(empty),
            Pull => PullArguments::augment_args(empty),
            Registry => RegistryArguments::augment_args(empty),
            Files => RegistryFiles::augment_args(empty),
            Policy => PolicyArguments::augment_args(empty),
            Decryption => DecryptionArguments::augment_args(empty),
            Limits => LimitArguments::augment_args(empty),
            Resources => ResourceArguments::augment_args(empty),
        };
        command.get_arguments().map(|argument| argument.get_id().clone()).collect()
    }

    /// Returns why a command does not have the options.
    fn reason(self) -> &'static str {
        match self {
            Platform => "does not choose among images of several platforms",
            Pull => "does not pull images",
            Registry => "sends no requests to registries",
            Files => "does not use the configuration of registries",
            Policy => "neither fetches nor uses images",
            Decryption => "does not decrypt layers",
            Limits => "reads no layers",
            Resources => "neither fetches layers nor reads archives",
        }
    }

    /// Returns whether the summary of `-h` leaves the options out.
    fn is_long(self) -> bool {
        !matches!(self, Platform | Pull)
    }
}

/// Returns the groups that a command uses. `path` is its name with that of the command above it, such as `lease create`.
fn groups(path: &str) -> &'static [Group] {
    let mut verbs = SUBJECTS.iter().flat_map(|(_, verbs)| *verbs);
    verbs.find(|(name, ..)| *name == path).map_or(&[], |(.., groups)| *groups)
}

/// Returns whether a command fetches or copies images. What it has fetched stays in the cache or at the destination, so
/// that the command continues when it is run again.
pub(crate) fn fetches_images(path: &str) -> bool {
    [Platform, Registry, Resources].iter().all(|group| groups(path).contains(group))
}

/// Returns whether a command, or one of those below it, obeys the policy on signatures.
pub(crate) fn uses_policy(name: &str) -> bool {
    let is_own = |path: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
    let mut verbs = SUBJECTS.iter().flat_map(|(_, verbs)| *verbs);
    verbs.any(|(path, _, groups)| is_own(path) && groups.contains(&Policy))
}

/// Gives each command of the program the options of the groups that it uses, and hides the others. Commands that are not
/// `needed` stay as they are.
pub(super) fn with_groups(program: Command, needed: impl Fn(&Command) -> bool) -> Command {
    let ids: Vec<Id> = Group::ALL.iter().flat_map(|group| group.ids()).collect();
    let shared: Vec<Arg> =
        program.get_arguments().filter(|argument| ids.contains(argument.get_id())).cloned().collect();
    // clap copies global options to all commands that have no option of the same id. So the hidden ones are accepted
    // everywhere, and `check` refuses them with a reason.
    let groups = Group::ALL.map(|group| (group, group.ids()));
    program
        .mut_args(|argument| if ids.contains(argument.get_id()) { argument.hide(true) } else { argument })
        .mut_subcommands(|verb| {
            let path = verb.get_name().to_owned();
            if !needed(&verb) {
                return verb;
            }
            with_options(verb, &path, &shared, &groups)
        })
        .help_template(help_template())
}

/// The ids of the options of each group. They are found once, because that takes as long as all else.
type GroupIds = [(Group, Vec<Id>)];

fn with_options(mut verb: Command, path: &str, shared: &[Arg], all: &GroupIds) -> Command {
    let used = groups(path);
    for (group, ids) in used.iter().filter_map(|used| all.iter().find(|(group, _)| group == used)) {
        for id in ids {
            let Some(option) = shared.iter().find(|option| option.get_id() == id) else { continue };
            let is_own = verb.get_arguments().any(|own| own.get_id() == id);
            verb = match is_own {
                // Global, so that it is accepted before the command, too.
                true => verb.mut_arg(id, |own| own.global(true)),
                false if group.is_long() => verb.arg(option.clone().hide_short_help(true)),
                false => verb.arg(option),
            };
        }
    }
    for (_, id, help) in OTHER_HELP.iter().filter(|(other, ..)| *other == path) {
        verb = verb.mut_arg(id, |option| option.help(help).long_help(help));
    }
    if let Some(section) = examples::section(path) {
        verb = verb.after_long_help(section);
        verb = verb.after_help(format!("`vmroot {path} --help` prints all options, and examples."));
    }
    verb.mut_subcommands(|nested| {
        let path = format!("{path} {}", nested.get_name());
        with_options(nested, &path, shared, all)
    })
}

/// Returns the form of the program's help, which lists the commands by subject.
fn help_template() -> String {
    let style = clap::builder::Styles::styled();
    let (header, literal) = (style.get_header(), style.get_literal());
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (subject, verbs) in SUBJECTS {
        text += &format!("\n{header}{subject}:{header:#}\n");
        for (name, summary, _) in *verbs {
            text += &format!("  {literal}{name:21}{literal:#}  {summary}\n");
        }
    }
    text + &format!(
        "\n`vmroot COMMAND --help` prints the options of a command, with examples.\n\n\
         {header}Global options:{header:#}\n{{options}}{{after-help}}"
    )
}

/// Checks that the command uses all options that are given, before it or after it.
///
/// # Errors
/// The error names the option, and says why the command does not have it.
pub(super) fn check(matches: &ArgMatches) -> clap::error::Result<()> {
    let (mut path, mut inner) = (String::new(), matches);
    while let Some((name, next)) = inner.subcommand() {
        inner = next;
        path = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
    }
    for group in Group::ALL.into_iter().filter(|group| !groups(&path).contains(group)) {
        for id in group.ids() {
            let is_given = matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
            if !is_given || is_of_skopeo(&path, &id) {
                continue;
            }
            let program = super::Arguments::program();
            let verb = path.split(' ').try_fold(&program, |verb, name| verb.find_subcommand(name));
            if !verb.is_some_and(|verb| verb.get_arguments().any(|own| *own.get_id() == id)) {
                let option = program.get_arguments().find(|option| *option.get_id() == id).and_then(Arg::get_long);
                let option = option.unwrap_or_default();
                let text = format!("vmroot {path} has no option --{option}: it {}", group.reason());
                return Err(error(program, &path, text));
            }
        }
    }
    Ok(())
}

/// Returns whether a script for skopeo may give the option to a command that does not use it.
fn is_of_skopeo(path: &str, id: &Id) -> bool {
    SKOPEO_VERBS.contains(&path) && SKOPEO_OPTIONS.contains(&id.as_str())
}

/// Returns an error with the usage of a command.
fn error(mut program: Command, path: &str, text: String) -> clap::Error {
    program.build();
    let mut verb = &mut program;
    for name in path.split(' ') {
        match verb.find_subcommand(name).is_some() {
            true => verb = verb.find_subcommand_mut(name).expect("the command was found"),
            false => break,
        }
    }
    verb.error(ErrorKind::UnknownArgument, text)
}

#[cfg(test)]
mod tests {
    use super::super::Arguments;
    use super::*;

    /// Returns the paths of the commands below one, without groups of commands.
    fn paths(command: &Command, above: &str, found: &mut Vec<String>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let path = format!("{above} {}", verb.get_name()).trim().to_owned();
            match verb.has_subcommands() {
                true => paths(verb, &path, found),
                false => found.push(path),
            }
        }
    }

    #[test]
    fn each_command_has_a_subject() {
        let mut found = Vec::new();
        paths(&Arguments::program(), "", &mut found);
        let mut listed: Vec<&str> = SUBJECTS.iter().flat_map(|(_, verbs)| *verbs).map(|(name, ..)| *name).collect();
        listed.sort_unstable();
        found.sort_unstable();
        assert_eq!(listed, found);
    }

    #[test]
    fn the_list_of_commands_fits_80_columns() {
        for (name, summary, _) in SUBJECTS.iter().flat_map(|(_, verbs)| *verbs) {
            assert!(name.len() <= 21 && summary.len() <= 55, "{name}: {summary}");
        }
    }

    fn parse(line: &str) -> Result<Arguments, String> {
        let parsed = Arguments::parse_words(line.split(' ').map(Into::into));
        parsed.map(|(arguments, _)| arguments).map_err(|error| {
            assert_eq!(error.exit_code(), 2, "{line}");
            error.to_string()
        })
    }

    #[test]
    fn options_stand_before_and_after_a_command_that_uses_them() {
        for (line, retries) in [
            ("vmroot --retries=7 pull x", 7),
            ("vmroot pull x --retries=7", 7),
            ("vmroot --retries=7 pull --retries=8 x", 8),
        ] {
            assert_eq!(parse(line).unwrap().global.registry.retries, retries, "{line}");
        }
        for line in ["vmroot --platform=linux/arm64 load x", "vmroot load --platform=linux/arm64 x"] {
            let super::super::Command::Load { platform, .. } = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(platform.len(), 1, "{line}");
        }
        assert_eq!(parse("vmroot --tls-verify=false copy a b").unwrap().global.registry.tls_verify, Some(false));
        assert_eq!(parse("vmroot lease create x --arch arm64 --cache y").unwrap().global.cache, Some("y".into()));
        assert!(parse("vmroot --cache y lease list").is_ok());
    }

    #[test]
    fn options_of_other_commands_are_refused_with_a_reason() {
        for (line, message) in [
            ("vmroot gc --plain-http", "vmroot gc has no option --plain-http: it sends no requests to registries"),
            ("vmroot --plain-http gc", "vmroot gc has no option --plain-http: it sends no requests to registries"),
            ("vmroot lease list --arch arm64", "vmroot lease list has no option --arch: it does not choose among"),
            ("vmroot images --max-data 1G", "vmroot images has no option --max-data: it reads no layers"),
            ("vmroot rm x --pull never", "vmroot rm has no option --pull: it does not pull images"),
            ("vmroot logout x --creds a:b", "vmroot logout has no option --creds: it sends no requests"),
            ("vmroot tags --tmpdir /tmp x", "vmroot tags has no option --tmpdir: it neither fetches layers"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(message), "{line}: {error}");
            assert!(error.contains("Usage: vmroot "), "{line}: {error}");
        }
    }

    #[test]
    fn skopeo_scripts_keep_their_options_before_each_command() {
        for line in [
            "vmroot --insecure-policy manifest-digest x",
            "vmroot --override-os linux list-tags docker://x",
            "vmroot --tmpdir /tmp logout x",
            "vmroot logout --tls-verify=false x",
        ] {
            parse(line).unwrap();
        }
        parse("vmroot --override-os linux gc").unwrap_err();
    }
}
