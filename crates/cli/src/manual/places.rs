//! The environment variables and files of a command. They follow from its options.

use clap::Command;
use clap_mangen::roff::Roff;

use super::{entry, has_option};

/// A variable or a file, and its effect.
type Entry = (&'static str, &'static str);

/// The entries of the commands that have an option.
struct Places {
    option: &'static str,
    variables: &'static [Entry],
    files: &'static [Entry],
}

const PLACES: [Places; 5] = [
    Places {
        option: "cache",
        variables: &[("XDG_CACHE_HOME, HOME", "The default cache is vmroot in $XDG_CACHE_HOME, or in ~/.cache.")],
        files: &[("~/.cache/vmroot", "The cache. To remove it, remove the directory.")],
    },
    Places {
        option: "authfile",
        variables: &[
            ("REGISTRY_AUTH_FILE", "A file with credentials, as --authfile."),
            ("DOCKER_CONFIG", "The directory with docker's config.json, instead of ~/.docker."),
            ("DOCKER_AUTH_CONFIG", "The text of a file with credentials, as docker reads it."),
            ("CONTAINERS_REGISTRIES_CONF, REGISTRIES_CONFIG_PATH", "The file registries.conf, as for podman."),
            (
                "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
                "The proxies for registries, and the hosts that need none. Names in small letters come first.",
            ),
            ("XDG_CONFIG_HOME, XDG_RUNTIME_DIR, HOME", "The places of the user's files."),
            ("DOCKER_HOST, DOCKER_CERT_PATH", "The Docker engine of docker-daemon:, and its certificates."),
        ],
        files: &[
            (
                "${XDG_RUNTIME_DIR}/containers/auth.json, ~/.config/containers/auth.json",
                "Credentials that podman login or vmroot login stored.",
            ),
            ("~/.docker/config.json", "Credentials that docker login stored, and credential helpers."),
            (
                "/etc/containers/registries.conf, registries.conf.d, ~/.config/containers/registries.conf",
                "Mirrors, short names and locations of registries, as for podman.",
            ),
            (
                "/etc/containers/certs.d, /etc/docker/certs.d, ~/.config/containers/certs.d",
                "Certificates for a registry, in a directory that is named HOST:PORT.",
            ),
            ("/etc/containers/storage.conf", "The store of containers-storage:, as for podman."),
        ],
    },
    Places {
        option: "detach",
        variables: &[],
        files: &[
            ("${XDG_RUNTIME_DIR}/vmroot/mount-PID.log", "The log of a detached mount; for root, in /run/vmroot."),
            ("${XDG_RUNTIME_DIR}/vmroot/mounts", "What vmroot mounts prints; for root, in /run/vmroot."),
        ],
    },
    Places {
        option: "kernel",
        variables: &[],
        files: &[
            ("/lib/modules", "Modules for a kernel of this machine, if --modules is not given."),
            ("${XDG_RUNTIME_DIR}/vmroot/kvm", "The result of the test of KVM, for each kernel and VMM."),
        ],
    },
    Places {
        option: "verbose",
        variables: &[
            (
                "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
                "Log lines and help have colours on a terminal, but not if NO_COLOR is set or CLICOLOR is 0. With \
                 CLICOLOR_FORCE, they have colours everywhere.",
            ),
            ("TERM", "With dumb, there are no colours, and progress is lines instead of bars."),
        ],
        files: &[],
    },
];

/// Writes the section ENVIRONMENT: the variables of options, and those of [`PLACES`].
pub(super) fn environment(command: &Command, roff: &mut Roff) {
    let options = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let of_options = options.filter_map(|argument| {
        let option = argument.get_long()?;
        Some((argument.get_env()?.to_string_lossy().into_owned(), format!("The default of --{option}.")))
    });
    let others = entries(command, |places| places.variables);
    let others = others.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned()));
    section(roff, "ENVIRONMENT", of_options.chain(others));
}

/// Writes the section FILES.
pub(super) fn files(command: &Command, roff: &mut Roff) {
    let entries = entries(command, |places| places.files);
    section(roff, "FILES", entries.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())));
}

fn entries(command: &Command, part: impl Fn(&Places) -> &'static [Entry]) -> Vec<Entry> {
    PLACES.iter().filter(|places| has_option(command, places.option)).flat_map(|places| part(places).to_vec()).collect()
}

fn section(roff: &mut Roff, title: &str, entries: impl Iterator<Item = (String, String)>) {
    let mut entries = entries.peekable();
    if entries.peek().is_some() {
        roff.control("SH", [title]);
    }
    for (name, text) in entries {
        entry(roff, &name, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;

    #[test]
    fn each_place_belongs_to_an_option() {
        let mut program = Arguments::program();
        program.build();
        for places in &PLACES {
            let known = |command: &Command| has_option(command, places.option);
            assert!(known(&program) || program.get_subcommands().any(known), "--{}", places.option);
        }
    }
}
