//! Reading environment variables, except for those of options, which clap reads, and the mark of a detached mount.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use rustix::fs::Access;
use vmroot::registry::AuthVariable;
use vmroot::transport::StorageUser;
use vmroot::{Locations, Platform, Proxies};

use crate::args::RegistryArguments;
use crate::exit::Advised;
use crate::paths;

/// Returns the default directory of the cache: `$XDG_CACHE_HOME/vmroot`, or `~/.cache/vmroot`.
pub(crate) fn cache_directory() -> anyhow::Result<PathBuf> {
    let cache = directory_variable("XDG_CACHE_HOME").or_else(|| Some(directory_variable("HOME")?.join(".cache")));
    let missing = || Advised::usage("no directory for the cache", "set --cache, VMROOT_CACHE, XDG_CACHE_HOME or HOME");
    Ok(cache.ok_or_else(missing)?.join("vmroot"))
}

/// Returns whether a variable is set, and empty.
pub(crate) fn is_empty(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}

/// Returns the position of the word that a shell completes, which most shells name.
pub(crate) fn completed_word() -> Option<usize> {
    env::var("_CLAP_COMPLETE_INDEX").ok()?.parse().ok()
}

/// Returns the shared caches of `VMROOT_SHARED_CACHE`.
pub(crate) fn shared_caches() -> Vec<PathBuf> {
    let directories = env::var_os("VMROOT_SHARED_CACHE").unwrap_or_default();
    env::split_paths(&directories).filter(|directory| !directory.as_os_str().is_empty()).collect()
}

/// Returns the directory for temporary files that have no other place: that of `TMPDIR`, or `/tmp`.
pub(crate) fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

/// Returns the places of the configuration for registries, from the environment and the command line.
pub(crate) fn locations(arguments: &RegistryArguments) -> Locations {
    // As podman and skopeo, in this order.
    let conf = file_variable("CONTAINERS_REGISTRIES_CONF").or_else(|| file_variable("REGISTRIES_CONFIG_PATH"));
    Locations {
        root: arguments.files.sysroot.clone(),
        home: directory_variable("HOME"),
        config_home: directory_variable("XDG_CONFIG_HOME"),
        cache_home: directory_variable("XDG_CACHE_HOME"),
        runtime_dir: directory_variable("XDG_RUNTIME_DIR"),
        uid: rustix::process::geteuid().as_raw(),
        registries_conf: arguments.files.registries_conf.clone().or(conf),
        registries_conf_dir: arguments.files.registries_conf_dir.clone(),
        short_name_aliases: None,
        registries_d: arguments.files.registries_d.clone(),
        auth_file: arguments.files.authfile.clone().or_else(|| file_variable("REGISTRY_AUTH_FILE")),
        compat_auth_file: None,
        // As docker, which accepts a relative path.
        docker_config: file_variable("DOCKER_CONFIG"),
        docker_auth_config: docker_auth_config(),
        cert_dir: arguments.cert_dir.clone(),
        helper_directories: Vec::new(),
    }
}

/// Returns the credentials of `DOCKER_AUTH_CONFIG`, which newer versions of docker read.
fn docker_auth_config() -> Option<AuthVariable> {
    let name = "DOCKER_AUTH_CONFIG".to_owned();
    let text = env::var(&name).ok().filter(|text| !text.trim().is_empty())?;
    Some(AuthVariable { name, text })
}

/// Returns the platform of this machine. On arm and arm64, it has the variant of the processor.
pub(crate) fn this_platform() -> Platform {
    let host = Platform::host();
    match host.architecture.as_str() {
        "arm" | "arm64" => Platform::host_with_variant(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        _ => host,
    }
}

/// Returns the passphrase of a private key, from `COSIGN_PASSWORD`. An empty one is one, too.
pub(crate) fn cosign_password() -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    env::var_os("COSIGN_PASSWORD").map(OsStringExt::into_vec)
}

/// Returns the directory with the keys of GnuPG: `GNUPGHOME`, or `~/.gnupg`.
pub(crate) fn gnupg_home() -> Option<PathBuf> {
    file_variable("GNUPGHOME").or_else(|| Some(directory_variable("HOME")?.join(".gnupg")))
}

/// Returns the address of the Docker engine, from `DOCKER_HOST`.
pub(crate) fn docker_host() -> Option<String> {
    env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty())
}

/// Returns the directory with the certificates for the Docker engine, from `DOCKER_CERT_PATH`.
pub(crate) fn docker_cert_dir() -> Option<PathBuf> {
    file_variable("DOCKER_CERT_PATH")
}

/// Returns the user whose images podman and buildah store.
pub(crate) fn storage_user() -> StorageUser {
    StorageUser {
        uid: rustix::process::geteuid().as_raw(),
        home: directory_variable("HOME").unwrap_or_else(|| PathBuf::from("/")),
        data_home: directory_variable("XDG_DATA_HOME"),
        runtime_dir: directory_variable("XDG_RUNTIME_DIR"),
    }
}

/// Returns the user's own files that locate the store, the first with the highest precedence. Root has none, except for
/// that of `CONTAINERS_STORAGE_CONF`.
pub(crate) fn storage_conf(uid: u32) -> Vec<PathBuf> {
    let named = file_variable("CONTAINERS_STORAGE_CONF");
    let config = directory_variable("XDG_CONFIG_HOME").or_else(|| Some(directory_variable("HOME")?.join(".config")));
    let own = config.filter(|_| uid != 0).map(|config| config.join("containers/storage.conf"));
    named.into_iter().chain(own).collect()
}

/// Returns the file or directory that a variable names. An empty value counts as unset.
fn file_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|file| !file.is_empty()).map(PathBuf::from)
}

/// Returns the proxies of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case.
pub(crate) fn proxies() -> Proxies {
    Proxies::from_variables(|name| env::var(name).ok())
}

/// Returns a directory for files that are removed when the user logs out or the machine reboots.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    let directory = directory_variable("XDG_RUNTIME_DIR").or_else(|| root.then(|| PathBuf::from("/run")));
    directory.filter(|directory| directory.is_dir()).map(|directory| directory.join("vmroot"))
}

/// Finds a program in `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|directory| directory.join(name));
    candidates.find(|file| file.is_file() && paths::check_access(file, Access::EXEC_OK).is_ok())
}

/// Returns the type of the user's terminal, from `TERM`.
pub(crate) fn terminal_type() -> Option<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    env::var("TERM").ok().filter(|name| !name.is_empty() && name.chars().all(usual))
}

/// Returns whether output should have colours, as clap decides it for help: not with `NO_COLOR` (no-color.org), always
/// with `CLICOLOR_FORCE`, not with `CLICOLOR=0` (bixense.com/clicolors), and otherwise on a terminal that is not `dumb`.
pub(crate) fn wants_colour(is_terminal: bool) -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    if is_set("NO_COLOR") {
        return false;
    }
    if env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") {
        return true;
    }
    is_terminal && env::var_os("CLICOLOR").is_none_or(|value| value != "0") && can_move_cursor()
}

/// Returns whether a terminal understands escape sequences: not if `TERM` is `dumb`.
pub(crate) fn can_move_cursor() -> bool {
    env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// Returns the directory that a variable names. An empty value or a relative path counts as unset (XDG base directory
/// specification).
fn directory_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
