//! What a guest needs on top of its image: an init that is started by the kernel, and the config that it reads.
//!
//! ```
//! use vmroot::{RuntimeConfig, guest};
//!
//! let runtime = RuntimeConfig { cmd: vec!["/bin/sh".to_owned()], ..RuntimeConfig::default() };
//! let config = guest::Config { hostname: Some("demo".to_owned()), ..guest::Config::new(runtime) };
//! let [init, config] = guest::files(b"a program", config.to_json());
//! assert_eq!((init.path, init.mode), ("/sbin/vmroot-init", 0o755));
//! assert_eq!((config.path, config.mode), ("/etc/vmroot/config.json", 0o644));
//! ```

use serde::{Deserialize, Serialize};
pub use vmroot_guest::{CONFIG, GuestFile, INIT, check_program, files, init_for};

use crate::RuntimeConfig;

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

#[cfg(test)]
mod tests {
    use super::*;

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
