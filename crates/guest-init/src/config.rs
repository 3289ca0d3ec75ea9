//! `/etc/vmroot/config.json`: how to run what the image holds.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result, document};

/// Where it is in the root.
pub(crate) const PATH: &str = "/etc/vmroot/config.json";

/// The longest config that is read, in bytes: an environment larger than this could not be given to a program.
const MAX_CONFIG: u64 = 4 << 20;

/// The fields of vmroot's `config.json` that running a command needs, and three that only a guest has; others are passed
/// over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    /// What is always run.
    pub(crate) entrypoint: Vec<String>,
    /// Its arguments, or what is run without an entrypoint.
    pub(crate) cmd: Vec<String>,
    /// The working directory; empty means `/`.
    pub(crate) working_dir: String,
    /// The user as the image names it; empty means root.
    pub(crate) user: String,
    /// The user's number, where it is known already.
    pub(crate) uid: Option<u32>,
    /// The group's number, where it is known already.
    pub(crate) gid: Option<u32>,
    /// Supplementary groups; without it, those of `/etc/group`.
    pub(crate) groups: Option<Vec<u32>>,
    /// The guest's name; without it, that of `/etc/hostname`.
    pub(crate) hostname: Option<String>,
    /// Whether the console is a terminal for the command: with job control and echo, or else a plain line for bytes.
    pub(crate) tty: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            env: Vec::new(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            uid: None,
            gid: None,
            groups: None,
            hostname: None,
            tty: true,
        }
    }
}

impl Config {
    /// Reads it; a root without one has the default.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::TooLong`] and [`Error::Document`].
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let config: Self = match document::json(path, MAX_CONFIG) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::default(),
            read => read?,
        };
        match config.fault() {
            None => Ok(config),
            Some(reason) => Err(Error::Document { path: path.to_owned(), reason }),
        }
    }

    /// What could not be handed to a system call.
    fn fault(&self) -> Option<String> {
        let lists = [("env", &self.env), ("entrypoint", &self.entrypoint), ("cmd", &self.cmd)];
        let texts = [("workingDir", &self.working_dir), ("user", &self.user)];
        let in_lists = lists.iter().find(|(_, list)| list.iter().any(|text| text.contains('\0')));
        let in_texts = texts.iter().find(|(_, text)| text.contains('\0'));
        if let Some(name) = in_lists.map(|(name, _)| name).or(in_texts.map(|(name, _)| name)) {
            return Some(format!("{name} has a NUL byte"));
        }
        // (uid_t) -1 means "leave it as it is" to the system calls.
        let mut ids = self.uid.iter().chain(&self.gid).chain(self.groups.iter().flatten());
        ids.any(|&id| id == u32::MAX).then(|| format!("{} is no user and no group", u32::MAX))
    }

    /// What to run: the entrypoint, and as its arguments those given, or else `cmd`.
    ///
    /// # Errors
    /// [`Error::NoCommand`].
    pub(crate) fn command(&self, arguments: &[OsString]) -> Result<Vec<OsString>> {
        let mut command: Vec<OsString> = self.entrypoint.iter().map(OsString::from).collect();
        if arguments.is_empty() {
            command.extend(self.cmd.iter().map(OsString::from));
        } else {
            command.extend_from_slice(arguments);
        }
        if command.is_empty() { Err(Error::NoCommand) } else { Ok(command) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Result<Config> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path())
    }

    #[test]
    fn the_fields_are_those_of_the_runtime_config() {
        let config = read(
            br#"{"layers": ["sha256:00"], "env": ["A=1"], "entrypoint": ["/e"], "cmd": ["c"], "workingDir": "/w",
                 "user": "u", "uid": 7, "gid": 8, "labels": {"x": "y"}, "groups": [9], "hostname": "h", "tty": false}"#,
        );
        let text = |text: &str| text.to_owned();
        let expected = Config {
            env: vec![text("A=1")],
            entrypoint: vec![text("/e")],
            cmd: vec![text("c")],
            working_dir: text("/w"),
            user: text("u"),
            uid: Some(7),
            gid: Some(8),
            groups: Some(vec![9]),
            hostname: Some(text("h")),
            tty: false,
        };
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn no_config_is_the_default() {
        assert_eq!(Config::read(Path::new("/nonexistent/config.json")).unwrap(), Config::default());
    }

    #[test]
    fn arguments_replace_cmd_and_keep_the_entrypoint() {
        let config = read(br#"{"entrypoint": ["e"], "cmd": ["c"]}"#).unwrap();
        assert_eq!(config.command(&[]).unwrap(), ["e", "c"]);
        assert_eq!(config.command(&["x".into()]).unwrap(), ["e", "x"]);
        assert!(matches!(Config::default().command(&[]), Err(Error::NoCommand)));
    }

    #[test]
    fn hostile_configs_are_errors_that_name_the_file() {
        let huge = [&br#"{"env": [""#[..], &vec![b'x'; MAX_CONFIG as usize], br#""]}"#].concat();
        let deep = vec![b'['; 100_000];
        let cases: [&[u8]; 10] = [
            b"",
            b"3",
            b"{\"env\": 3}",
            b"{\"env\": [1]}",
            b"{\"uid\": -1}",
            b"{\"uid\": 4294967295}",
            b"{\"gid\": 4294967296}",
            b"{\"cmd\": [\"a\\u0000b\"]}",
            &huge,
            &deep,
        ];
        for case in cases {
            let error = read(case).unwrap_err();
            assert_eq!(error.exit_code(), 125);
            assert!(error.to_string().starts_with('/'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
