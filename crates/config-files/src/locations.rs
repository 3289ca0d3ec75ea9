//! The places where configuration files are.

use std::path::{Path, PathBuf};

use vmroot_registry::{AuthPlace, AuthVariable};

use crate::{Error, Result};

/// The places where configuration files are. The caller fills them, because the library reads no environment.
///
/// The default has no home directory and the user 0, so it finds only the system's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locations {
    /// A directory that is put before the absolute paths that this crate chooses itself, such as
    /// `/etc/containers/registries.conf`. Paths in the home directory and explicit paths stay as they are.
    pub root: Option<PathBuf>,
    /// The user's home directory, `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`. The default is `~/.config`. Only credential files are searched there.
    pub config_home: Option<PathBuf>,
    /// `$XDG_CACHE_HOME`. The default is `~/.cache`.
    pub cache_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The effective user id.
    pub uid: u32,
    /// The main registries.conf, in place of the user's and the system's. It must exist.
    pub registries_conf: Option<PathBuf>,
    /// The only directory with drop-ins for registries.conf.
    pub registries_conf_dir: Option<PathBuf>,
    /// The file with the short names that the user chose.
    pub short_name_aliases: Option<PathBuf>,
    /// The only directory with the places of signatures, in place of the user's and the system's registries.d.
    pub registries_d: Option<PathBuf>,
    /// The only credential file, `--authfile` or `$REGISTRY_AUTH_FILE`.
    pub auth_file: Option<PathBuf>,
    /// The only credential file, written as Docker writes its own.
    pub compat_auth_file: Option<PathBuf>,
    /// The directory of Docker's `config.json`, `$DOCKER_CONFIG`. The default is `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// `$DOCKER_AUTH_CONFIG`: the JSON of a credential file. It is searched before Docker's `config.json`.
    pub docker_auth_config: Option<AuthVariable>,
    /// The only directory with certificates, for all registries.
    pub cert_dir: Option<PathBuf>,
    /// The directories to search for credential helpers. If empty, `PATH` is searched.
    pub helper_directories: Vec<PathBuf>,
}

/// The directory for short names that root chose.
const ROOT_CACHE: &str = "/var/cache";

impl Locations {
    /// Returns an absolute path that this crate chooses, within [`Self::root`].
    pub(crate) fn implicit(&self, path: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        }
    }

    fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }

    /// Returns the main registries.conf, and whether it must exist.
    pub(crate) fn main_registries_conf(&self) -> (PathBuf, bool) {
        if let Some(path) = &self.registries_conf {
            return (path.clone(), true);
        }
        match self.user_registries_conf() {
            Some(path) => (path, false),
            None => (self.implicit("/etc/containers/registries.conf"), false),
        }
    }

    /// Returns the user's registries.conf if it exists and no other is named.
    fn user_registries_conf(&self) -> Option<PathBuf> {
        let path = self.in_home(".config/containers/registries.conf")?;
        (self.registries_conf.is_none() && path.exists()).then_some(path)
    }

    /// Returns the directories with drop-ins, those with lower precedence first. With the user's registries.conf, the
    /// system's drop-ins are left out.
    pub(crate) fn registries_conf_dirs(&self) -> Vec<PathBuf> {
        if let Some(directory) = &self.registries_conf_dir {
            return vec![directory.clone()];
        }
        let user = self.in_home(".config/containers/registries.conf.d");
        let system = self.implicit("/etc/containers/registries.conf.d");
        let system = self.user_registries_conf().is_none().then_some(system);
        system.into_iter().chain(user).collect()
    }

    /// Returns the file with the short names that the user chose, if there is a directory for it.
    pub(crate) fn short_name_aliases(&self) -> Option<PathBuf> {
        if let Some(path) = &self.short_name_aliases {
            return Some(path.clone());
        }
        let cache = match self.uid {
            0 => Some(self.implicit(ROOT_CACHE)),
            _ => self.cache_home.clone().or_else(|| self.in_home(".cache")),
        };
        Some(cache?.join("containers/short-name-aliases.conf"))
    }

    /// Returns the directory registries.d: the user's if it exists, else the system's.
    pub fn registries_d(&self) -> PathBuf {
        let own = self.in_home(".config/containers/registries.d").filter(|directory| directory.exists());
        let chosen = self.registries_d.clone().or(own);
        chosen.unwrap_or_else(|| self.implicit("/etc/containers/registries.d"))
    }

    /// Returns the lookaside of registries without one in registries.d.
    pub(crate) fn lookaside(&self) -> PathBuf {
        match self.in_home(".local/share/containers/sigstore") {
            Some(own) if self.uid != 0 => own,
            _ => self.implicit("/var/lib/containers/sigstore"),
        }
    }

    /// Returns the paths of `policy.json`, in the order of precedence.
    pub fn policies(&self) -> Vec<PathBuf> {
        let system = self.implicit("/etc/containers/policy.json");
        self.in_home(".config/containers/policy.json").into_iter().chain([system]).collect()
    }

    /// Returns the directories to search for certificates of a registry, in order of precedence.
    pub(crate) fn certificate_directories(&self, domain: &str) -> Vec<PathBuf> {
        if let Some(directory) = &self.cert_dir {
            return vec![directory.clone()];
        }
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(|path| self.implicit(path));
        let user = self.in_home(".config/containers/certs.d");
        user.into_iter().chain(system).map(|directory| directory.join(domain)).collect()
    }

    /// Returns the credential files and the variable, in order of precedence.
    pub fn auth_files(&self) -> Vec<AuthPlace> {
        if let Some(path) = self.auth_file.as_ref().or(self.compat_auth_file.as_ref()) {
            return vec![AuthPlace::File(path.clone())];
        }
        let primary = match self.primary_auth_file() {
            Ok(path) => Some(path),
            Err(error) => {
                // Public images need no credentials.
                tracing::warn!(%error, "continuing without this credential file");
                None
            }
        };
        let config = self.config_home.clone().or_else(|| self.in_home(".config"));
        let docker = self.docker_config.clone().or_else(|| self.in_home(".docker"));
        let podmans = [primary, config.map(|directory| directory.join("containers/auth.json"))];
        let dockers = [docker.map(|directory| directory.join("config.json")), self.in_home(".dockercfg")];
        let places = |files: [Option<PathBuf>; 2]| files.into_iter().flatten().map(AuthPlace::File);
        let variable = self.docker_auth_config.clone().map(AuthPlace::Variable);
        places(podmans).chain(variable).chain(places(dockers)).collect()
    }

    /// Returns the credential file that is read first and written by default.
    fn primary_auth_file(&self) -> Result<PathBuf> {
        let by_user = format!("/run/containers/{}/auth.json", self.uid);
        match (&self.root, &self.runtime_dir) {
            (None, Some(directory)) if !directory.exists() => Err(Error::Options(format!(
                "the directory {} of XDG_RUNTIME_DIR does not exist: create it, or unset the variable",
                directory.display()
            ))),
            (None, Some(directory)) => Ok(directory.join("containers/auth.json")),
            _ => Ok(self.implicit(&by_user)),
        }
    }

    /// Returns the credential file to write, and whether it is Docker's.
    ///
    /// # Errors
    /// [`Error::Options`]: two files are named, or the directory of the default one does not exist.
    pub(crate) fn written_auth_file(&self) -> Result<WrittenFile> {
        let file = |path: &Path, is_dockers| WrittenFile { path: path.to_owned(), is_dockers };
        match (&self.auth_file, &self.compat_auth_file, &self.docker_config) {
            (Some(_), Some(_), _) => {
                Err(Error::Options("a credential file and one of Docker's cannot both be named".to_owned()))
            }
            (Some(path), ..) => Ok(file(path, false)),
            (None, Some(path), _) => Ok(file(path, true)),
            // As podman: the file that the variable names is the one that Docker reads.
            (None, None, Some(directory)) => Ok(file(&directory.join("config.json"), true)),
            (None, None, None) => Ok(file(&self.primary_auth_file()?, false)),
        }
    }
}

/// A credential file to write.
pub(crate) struct WrittenFile {
    pub(crate) path: PathBuf,
    /// Whether the file has the keys that Docker uses, and its helpers.
    pub(crate) is_dockers: bool,
}
