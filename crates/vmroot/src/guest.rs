//! The init and its config, which a guest needs on top of its image.
//!
//! ```
//! use vmroot::{RuntimeConfig, Top, guest};
//!
//! let runtime = RuntimeConfig { cmd: vec!["/bin/sh".to_owned()], ..RuntimeConfig::default() };
//! let config = guest::Config { hostname: Some("demo".to_owned()), ..guest::Config::new(runtime) };
//! let top = Top { additions: guest::additions(b"a program", &config).into(), ..Top::default() };
//! ```

use serde::{Deserialize, Serialize};
pub use vmroot_guest::{CONFIG, INIT, check_program, init_for};

use crate::{Addition, RuntimeConfig};

/// The config of the init, `/etc/vmroot/config.json`: how to run the image's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How to run the image.
    #[serde(flatten)]
    pub runtime: RuntimeConfig,
    /// The ids of the supplementary groups. `None` means the user's groups in the guest's `/etc/group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<u32>>,
    /// The guest's host name. `None` means the name in its `/etc/hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether the console is a terminal for the command, with echo and job control, or passes bytes unchanged. `None`
    /// means a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
}

impl Config {
    /// Returns a config that runs the image, with defaults for everything else.
    pub fn new(runtime: RuntimeConfig) -> Self {
        Self { runtime, groups: None, hostname: None, tty: None }
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
        let runtime = RuntimeConfig { uid: Some(1), user: "app".to_owned(), ..RuntimeConfig::default() };
        assert_eq!(Config::new(runtime.clone()).to_json(), runtime.to_json());
    }

    #[test]
    fn guest_fields_come_last() {
        let mut config = Config::new(RuntimeConfig::default());
        (config.groups, config.hostname, config.tty) = (Some(vec![44]), Some("demo".to_owned()), Some(false));
        let json = config.to_json();
        assert!(json.ends_with("\"hostname\": \"demo\",\n  \"tty\": false\n}\n"), "{json}");
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }
}
