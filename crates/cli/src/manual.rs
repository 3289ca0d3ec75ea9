//! The man pages, from the definitions of the command line.
//!
//! clap_mangen writes the sections that follow from the definitions. The help after a command's options becomes sections
//! of its own, so that help and manual have the same examples. The rest is here: exit codes, variables, files and related
//! pages.

mod after_help;
mod places;
mod related;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The section of commands.
const COMMANDS: &str = "1";

/// The page on the names of images, without its title.
const TRANSPORTS: &str = include_str!("manual/transports.roff");

/// The exit codes and their causes.
const EXIT_CODES: [(&str, &str); 10] = [
    ("0", "Success."),
    ("1", "Any other error."),
    ("2", "Invalid usage: an option, or a name, a digest or a platform that is malformed."),
    ("3", "Not found: the image, the platform, a path in the image, or a file on the command line."),
    ("4", "The registry requires other credentials, or an encrypted layer another key."),
    ("5", "Data is damaged, or does not have its digest."),
    ("6", "A limit was exceeded. The error names the limit, and the option that raises it if there is one."),
    ("124", "A time limit ended the command: --command-timeout, or --timeout of vmroot boot."),
    ("130", "Ended by SIGINT, SIGTERM or SIGHUP."),
    (
        "141",
        "The reader of standard output closed it before all of an archive or an export was written, without a message. For \
         lists and texts, this is no error.",
    ),
];

/// Writes a page for each command, and the page on transports, to a directory, which is created if it is missing.
pub(crate) fn write(command: Command, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_tree(&command, directory)?;
    let title = format!(".TH vmroot-transports 7 \"\" {:?} \"\"\n.nh\n.ad l\n", source());
    write_file(&directory.join("vmroot-transports.7"), (title + TRANSPORTS).as_bytes())
}

fn write_tree(command: &Command, directory: &Path) -> anyhow::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_tree(subcommand, directory)?;
    }
    let mut page = Vec::new();
    render(command, &mut page).context("a page is made in memory")?;
    write_file(&directory.join(format!("{}.{COMMANDS}", name(command))), &page)
}

fn write_file(path: &Path, page: &[u8]) -> anyhow::Result<()> {
    fs::write(path, page).with_context(|| path.display().to_string())
}

/// Returns the name of a command's page, such as `vmroot-layer-index`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn source() -> String {
    concat!("vmroot ", env!("CARGO_PKG_VERSION")).to_owned()
}

fn render(command: &Command, page: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(with_short_synopsis(command.clone().mut_args(in_sections))).section(COMMANDS).source(source());
    man.render_title(page)?;
    // No hyphens in names, and no wide gaps beside them.
    page.write_all(b".nh\n.ad l\n")?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    if command.get_subcommands().any(|subcommand| !subcommand.is_hide_set()) {
        man.render_subcommands_section(page)?;
    }
    man.render_options_section(page)?;
    let mut roff = Roff::default();
    after_help::sections(command, &mut roff);
    exit_status(command, &mut roff);
    places::environment(command, &mut roff);
    places::files(command, &mut roff);
    related::see_also(command, &mut roff);
    roff.to_writer(page)
}

/// Replaces the synopsis with all options by the usage line of the help.
fn with_short_synopsis(mut command: Command) -> Command {
    if command.get_overridden_usage().is_some() {
        return command;
    }
    let usage = command.render_usage().to_string();
    command.override_usage(usage.trim_start_matches("Usage:").trim().to_owned())
}

/// Gives positional arguments a section of their own, and options that `-h` leaves out their text.
fn in_sections(argument: Arg) -> Arg {
    let argument = argument.hide_short_help(false);
    match argument.get_help_heading() {
        None if argument.is_positional() => argument.help_heading("Arguments"),
        _ => argument,
    }
}

fn exit_status(command: &Command, roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    if name(command) == "vmroot-boot" {
        roff.text([roman(
            "The exit code of the guest's command; 128 plus the number of the signal that ended it; or 125, 126 or 127 if \
             the init could not start it. The other codes are those of every command:",
        )]);
    }
    for (code, cause) in EXIT_CODES {
        entry(roff, code, cause);
    }
}

/// Writes one entry of a list: a word, and a text.
fn entry(roff: &mut Roff, word: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(word)]);
    roff.text([roman(text)]);
}

/// Returns whether a command has an option, itself or as one of every command.
fn has_option(command: &Command, long: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(long) && !argument.is_hide_set())
}
