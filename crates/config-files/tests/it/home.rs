//! A home directory with configuration files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vmroot_config_files::{Configuration, Locations, Registries};

/// A directory for all files of a test: a home, a sysroot, and helpers.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file with its directories.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Returns locations within this directory, with the user 0.
    pub(crate) fn locations(&self) -> Locations {
        Locations {
            root: Some(self.path("root")),
            home: Some(self.path("home")),
            helper_directories: vec![self.path("bin")],
            ..Locations::default()
        }
    }

    /// Returns locations with this registries.conf and no drop-ins.
    pub(crate) fn with_conf(&self, text: &str) -> Locations {
        Locations {
            registries_conf: Some(self.file("registries.conf", text)),
            registries_conf_dir: Some(self.path("no-drop-ins")),
            ..self.locations()
        }
    }

    /// Creates the program `docker-credential-NAME`. It appends its requests to a file beside it.
    pub(crate) fn helper(&self, name: &str, script: &str) {
        let program = self.path(&format!("bin/docker-credential-{name}"));
        let script = format!("#!/bin/sh\ninput=$(cat)\necho \"$1 $input\" >>\"$0.asked\"\n{script}\n");
        let text = self.file("script", &script);
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        // Written by `cp`, because another thread of this process could start a program that inherits the open file,
        // and a file open for writing cannot be executed.
        assert!(Command::new("cp").arg(&text).arg(&program).status().unwrap().success());
    }

    /// Returns the requests to a helper.
    pub(crate) fn requests(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("bin/docker-credential-{name}.asked"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Parses a registries.conf without drop-ins.
pub(crate) fn parse(text: &str) -> vmroot_config_files::Result<Registries> {
    Registries::load(&Home::new().with_conf(text))
}

/// Returns the configuration at these locations.
pub(crate) fn configuration(locations: Locations) -> Configuration {
    Configuration::new(locations)
}

/// Returns the mode of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
