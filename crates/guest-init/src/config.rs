//! The config: how to run the image's command.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use vmroot_guest_config::{GuestSettings, MAX_CONFIG, Process};

use crate::{Error, Result, document};

/// The fields of the config that are needed to run a command. Other fields are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) process: Process,
    pub(crate) settings: GuestSettings,
}

impl Config {
    /// Reads the config. A missing file means the default config.
    ///
    /// # Errors
    /// - [`Error::Io`] if the file cannot be read.
    /// - [`Error::TooLong`] if it is larger than the limit.
    /// - [`Error::Document`] if it is malformed.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let config = match document::read(path, MAX_CONFIG) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::default(),
            read => {
                let text = read?;
                Self { process: document::parse(path, &text)?, settings: document::parse(path, &text)? }
            }
        };
        match config.invalid_field() {
            None => Ok(config),
            Some(reason) => Err(Error::Document { path: path.to_owned(), reason }),
        }
    }

    /// Returns a description of a field that could not be passed to a system call.
    fn invalid_field(&self) -> Option<String> {
        let process = &self.process;
        let lists = [("env", &process.env), ("entrypoint", &process.entrypoint), ("cmd", &process.cmd)];
        let texts = [("workingDir", &process.working_dir), ("user", &process.user)];
        let in_lists = lists.iter().find(|(_, list)| list.iter().any(|text| text.contains('\0')));
        let in_texts = texts.iter().find(|(_, text)| text.contains('\0'));
        if let Some(name) = in_lists.map(|(name, _)| name).or(in_texts.map(|(name, _)| name)) {
            return Some(format!("{name} has a NUL byte"));
        }
        // System calls take (uid_t) -1 as "leave unchanged".
        let mut ids = process.uid.iter().chain(&process.gid).chain(self.settings.groups.iter().flatten());
        ids.any(|&id| id == u32::MAX).then(|| format!("{} is no user and no group", u32::MAX))
    }

    /// Returns the command: the entrypoint, followed by `arguments` or else by `cmd`.
    ///
    /// # Errors
    /// [`Error::NoCommand`] if all of them are empty.
    pub(crate) fn command(&self, arguments: &[OsString]) -> Result<Vec<OsString>> {
        let mut command: Vec<OsString> = self.process.entrypoint.iter().map(OsString::from).collect();
        if arguments.is_empty() {
            command.extend(self.process.cmd.iter().map(OsString::from));
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
        let process = Process {
            env: vec![text("A=1")],
            entrypoint: vec![text("/e")],
            cmd: vec![text("c")],
            working_dir: text("/w"),
            user: text("u"),
            uid: Some(7),
            gid: Some(8),
        };
        let settings = GuestSettings {
            groups: Some(vec![9]),
            hostname: Some(text("h")),
            tty: Some(false),
            ..GuestSettings::default()
        };
        let expected = Config { process, settings };
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
