//! `/etc/vmroot/config.json`: how to run the image's command.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result, document};

/// The path of the config in the root.
pub(crate) const PATH: &str = "/etc/vmroot/config.json";

/// The maximum size of the config in bytes. A larger environment could not be passed to a program.
const MAX_CONFIG: u64 = 4 << 20;

/// The fields of vmroot's `config.json` that are needed to run a command, plus three for guests only. Other fields are
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    /// Variables as `NAME=value`.
    pub(crate) env: Vec<String>,
    /// The program and its first arguments, which are always used.
    pub(crate) entrypoint: Vec<String>,
    /// The default arguments, or the whole command if there is no entrypoint.
    pub(crate) cmd: Vec<String>,
    /// The working directory. Empty means `/`.
    pub(crate) working_dir: String,
    /// The user as named by the image. Empty means root.
    pub(crate) user: String,
    /// The user's id, if already resolved.
    pub(crate) uid: Option<u32>,
    /// The group's id, if already resolved.
    pub(crate) gid: Option<u32>,
    /// The supplementary groups. `None` means those of `/etc/group`.
    pub(crate) groups: Option<Vec<u32>>,
    /// The host name. `None` means that of `/etc/hostname`.
    pub(crate) hostname: Option<String>,
    /// Whether the console is a terminal for the command, with job control and echo. If not, it is a plain line for
    /// bytes.
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
    /// Reads the config. A missing file means the default config.
    ///
    /// # Errors
    /// - [`Error::Io`] if the file cannot be read.
    /// - [`Error::TooLong`] if it is larger than the limit.
    /// - [`Error::Document`] if it is malformed.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let config: Self = match document::json(path, MAX_CONFIG) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::default(),
            read => read?,
        };
        match config.invalid_field() {
            None => Ok(config),
            Some(reason) => Err(Error::Document { path: path.to_owned(), reason }),
        }
    }

    /// Returns a description of a field that could not be passed to a system call.
    fn invalid_field(&self) -> Option<String> {
        let lists = [("env", &self.env), ("entrypoint", &self.entrypoint), ("cmd", &self.cmd)];
        let texts = [("workingDir", &self.working_dir), ("user", &self.user)];
        let in_lists = lists.iter().find(|(_, list)| list.iter().any(|text| text.contains('\0')));
        let in_texts = texts.iter().find(|(_, text)| text.contains('\0'));
        if let Some(name) = in_lists.map(|(name, _)| name).or(in_texts.map(|(name, _)| name)) {
            return Some(format!("{name} has a NUL byte"));
        }
        // System calls take (uid_t) -1 as "leave unchanged".
        let mut ids = self.uid.iter().chain(&self.gid).chain(self.groups.iter().flatten());
        ids.any(|&id| id == u32::MAX).then(|| format!("{} is no user and no group", u32::MAX))
    }

    /// Returns the command: the entrypoint, followed by `arguments` or else by `cmd`.
    ///
    /// # Errors
    /// [`Error::NoCommand`] if all of them are empty.
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
    fn a_missing_config_is_the_default() {
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
