//! Reading environment variables, except for those of options, which clap reads, and the mark of a detached mount.

use std::env;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::fs::Access;
use vmroot::Proxies;

use crate::paths;

/// Returns the default directory of the cache: `$XDG_CACHE_HOME/vmroot`, or `~/.cache/vmroot`.
pub(crate) fn cache_directory() -> anyhow::Result<PathBuf> {
    let cache = directory_variable("XDG_CACHE_HOME").or_else(|| Some(directory_variable("HOME")?.join(".cache")));
    Ok(cache.context("no directory for the cache: set --cache, VMROOT_CACHE, XDG_CACHE_HOME or HOME")?.join("vmroot"))
}

/// Returns the files that may hold credentials, in order of precedence, as in containers-auth.json(5) and docker.
pub(crate) fn auth_files() -> Vec<PathBuf> {
    if let Some(file) = env::var_os("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty()) {
        return vec![file.into()];
    }
    let runtime = directory_variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    let runtime = runtime.unwrap_or_else(|| {
        let uid = rustix::process::getuid().as_raw();
        PathBuf::from(format!("/run/containers/{uid}/auth.json"))
    });
    let home = directory_variable("HOME");
    let config = directory_variable("XDG_CONFIG_HOME").or_else(|| Some(home.clone()?.join(".config")));
    let docker = directory_variable("DOCKER_CONFIG").or_else(|| Some(home?.join(".docker")));
    let files = [
        Some(runtime),
        config.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ];
    files.into_iter().flatten().collect()
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

/// Returns whether a terminal should show colours: not if `NO_COLOR` (no-color.org) is set or `TERM` is `dumb`.
pub(crate) fn wants_colour() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// Returns the directory that a variable names. An empty value or a relative path counts as unset (XDG base directory
/// specification).
fn directory_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
