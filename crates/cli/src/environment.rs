//! What the environment says: the only place that reads it.

use std::env;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::fs::Access;
use vmroot::Proxies;

use crate::places;

/// The directory of the cache when no option names one: `$XDG_CACHE_HOME/vmroot`, or `~/.cache/vmroot`.
pub(crate) fn cache_directory() -> anyhow::Result<PathBuf> {
    let cache = directory("XDG_CACHE_HOME").or_else(|| Some(directory("HOME")?.join(".cache")));
    Ok(cache.context("neither --cache, VMROOT_CACHE, XDG_CACHE_HOME nor HOME says where the cache is")?.join("vmroot"))
}

/// The files that may hold credentials, most important first, as containers-auth.json(5) and docker have them.
pub(crate) fn auth_files() -> Vec<PathBuf> {
    if let Some(file) = env::var_os("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty()) {
        return vec![file.into()];
    }
    let runtime = directory("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
    let runtime = runtime.unwrap_or_else(|| {
        let uid = rustix::process::getuid().as_raw();
        PathBuf::from(format!("/run/containers/{uid}/auth.json"))
    });
    let home = directory("HOME");
    let config = directory("XDG_CONFIG_HOME").or_else(|| Some(home.clone()?.join(".config")));
    let docker = directory("DOCKER_CONFIG").or_else(|| Some(home?.join(".docker")));
    let files = [
        Some(runtime),
        config.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
    ];
    files.into_iter().flatten().collect()
}

/// The proxies of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case.
pub(crate) fn proxies() -> Proxies {
    Proxies::from_variables(|name| env::var(name).ok())
}

/// A directory whose files are gone when the machine boots anew, or the user logs out.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    let directory = directory("XDG_RUNTIME_DIR").or_else(|| root.then(|| PathBuf::from("/run")));
    directory.filter(|directory| directory.is_dir()).map(|directory| directory.join("vmroot"))
}

/// The program that the system will start by a name.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|directory| directory.join(name));
    candidates.find(|file| file.is_file() && places::may(file, Access::EXEC_OK).is_ok())
}

/// The kind of terminal that somebody sits at.
pub(crate) fn terminal() -> Option<String> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    env::var("TERM").ok().filter(|name| !name.is_empty() && name.chars().all(usual))
}

/// Whether colours are wanted where there is a terminal: `NO_COLOR` (no-color.org) and a terminal that has none say no.
pub(crate) fn wants_colour() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|name| name != "dumb")
}

/// A variable that names a directory; an empty one, or one with a relative path, counts as not set (XDG base directory
/// specification).
fn directory(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
