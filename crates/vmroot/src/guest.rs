//! The init and its config, which a guest needs on top of its image.
//!
//! ```
//! use vmroot::{Process, RuntimeConfig, Top, guest};
//!
//! let process = Process { cmd: vec!["/bin/sh".to_owned()], ..Process::default() };
//! let mut config = guest::Config::new(RuntimeConfig { process, ..RuntimeConfig::default() });
//! config.settings.hostname = Some("demo".to_owned());
//! let top = Top { additions: guest::additions(b"a program", &config).into(), ..Top::default() };
//! ```

use serde::{Deserialize, Serialize};
pub use vmroot_guest::{Error as InitError, check_program, init_for, rust_target};
pub use vmroot_guest_config::{
    CONFIG, GuestNetwork, GuestSettings, INIT, MAX_UPPER_RECORD, Pid1, UPPER, UPPER_RECORD, UPPER_WORK, UpperRecord,
};

use crate::{Addition, RuntimeConfig};

/// The config of the init, `/etc/vmroot/config.json`: how to run the image's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How to run the image.
    #[serde(flatten)]
    pub runtime: RuntimeConfig,
    /// The settings of the guest.
    #[serde(flatten)]
    pub settings: GuestSettings,
}

impl Config {
    /// Returns a config that runs the image, with defaults for everything else.
    pub fn new(runtime: RuntimeConfig) -> Self {
        Self { runtime, settings: GuestSettings::default() }
    }

    /// Returns the text of the file, in the format of [`RuntimeConfig::to_json`].
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("all keys of a config are strings") + "\n"
    }
}

/// Returns the additions that make a guest of an image: the init at [`INIT`] with mode 755, and its config at
/// [`CONFIG`] with mode 644.
pub fn additions(init: &[u8], config: &Config) -> [Addition; 2] {
    let file = |path: &str, mode, bytes| Addition::File { destination: path.as_bytes().to_vec(), mode, bytes };
    [file(INIT, 0o755, init.to_vec()), file(CONFIG, 0o644, config.to_json().into_bytes())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;

    #[test]
    fn additions_have_the_paths_that_the_guest_reads() {
        let config = Config::new(RuntimeConfig::default());
        let [init, text] = additions(b"program", &config);
        let file = |destination: &str, mode, bytes: &[u8]| Addition::File {
            destination: destination.into(),
            mode,
            bytes: bytes.to_vec(),
        };
        assert_eq!(init, file("/sbin/vmroot-init", 0o755, b"program"));
        assert_eq!(text, file("/etc/vmroot/config.json", 0o644, config.to_json().as_bytes()));
    }

    #[test]
    fn config_without_guest_fields_is_the_runtime_config() {
        let process = Process { uid: Some(1), user: "app".to_owned(), ..Process::default() };
        let runtime = RuntimeConfig { process, ..RuntimeConfig::default() };
        assert_eq!(Config::new(runtime.clone()).to_json(), runtime.to_json());
    }

    #[test]
    fn guest_fields_come_last() {
        let mut config = Config::new(RuntimeConfig::default());
        config.settings = GuestSettings {
            groups: Some(vec![44]),
            hostname: Some("demo".to_owned()),
            tty: Some(false),
            ..GuestSettings::default()
        };
        let json = config.to_json();
        assert!(json.ends_with("\"hostname\": \"demo\",\n  \"tty\": false\n}\n"), "{json}");
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }

    /// The init parses `Process` and `GuestSettings`.
    #[test]
    fn the_init_reads_all_that_is_written() {
        let text = |text: &str| text.to_owned();
        let process = Process {
            env: vec![text("A=1"), text("B=\u{1f600} \"")],
            entrypoint: vec![text("/bin/sh")],
            cmd: vec![text("-c")],
            working_dir: text("/w"),
            user: text("app:staff"),
            uid: Some(1),
            gid: Some(2),
        };
        let runtime = RuntimeConfig {
            layers: vec![crate::Digest::of(b"")],
            process: process.clone(),
            labels: [(text("env"), text("no list"))].into(),
            architecture: text("amd64"),
        };
        let settings = GuestSettings {
            groups: Some(vec![44]),
            hostname: Some(text("demo")),
            tty: Some(false),
            ..GuestSettings::default()
        };
        let json = Config { runtime, settings: settings.clone() }.to_json();
        assert_eq!(serde_json::from_str::<Process>(&json).unwrap(), process);
        assert_eq!(serde_json::from_str::<GuestSettings>(&json).unwrap(), settings);
    }
}
