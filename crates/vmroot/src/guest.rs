//! What a guest needs on top of its image: an init that is started by the kernel, and the config that it reads.
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

/// How the init runs the image's command: `/etc/vmroot/config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// What the image says.
    #[serde(flatten)]
    pub runtime: RuntimeConfig,
    /// Supplementary groups; without it, those that the guest's `/etc/group` gives the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<u32>>,
    /// The guest's name; without it, that of its `/etc/hostname`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether the console is a terminal to the command, with echo and job control, or carries bytes as they are;
    /// without it, a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
}

impl Config {
    /// The image's config and nothing else.
    pub fn new(runtime: RuntimeConfig) -> Self {
        Self { runtime, groups: None, hostname: None, tty: None }
    }

    /// The text of the file, formatted as [`RuntimeConfig::to_json`] does.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a config has no keys but strings") + "\n"
    }
}

/// What makes a guest of an image: the init at [`INIT`], and at [`CONFIG`] what it reads.
pub fn additions(init: &[u8], config: &Config) -> [Addition; 2] {
    let file = |path: &str, mode, bytes| Addition::File { destination: path.as_bytes().to_vec(), mode, bytes };
    [file(INIT, 0o755, init.to_vec()), file(CONFIG, 0o644, config.to_json().into_bytes())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_where_the_guest_looks_for_them() {
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
    fn without_more_than_the_image_says_it_is_the_runtime_config() {
        let runtime = RuntimeConfig { uid: Some(1), user: "app".to_owned(), ..RuntimeConfig::default() };
        assert_eq!(Config::new(runtime.clone()).to_json(), runtime.to_json());
    }

    #[test]
    fn what_a_guest_has_more_comes_last() {
        let mut config = Config::new(RuntimeConfig::default());
        (config.groups, config.hostname, config.tty) = (Some(vec![44]), Some("demo".to_owned()), Some(false));
        let json = config.to_json();
        assert!(json.ends_with("\"hostname\": \"demo\",\n  \"tty\": false\n}\n"), "{json}");
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config);
    }
}
