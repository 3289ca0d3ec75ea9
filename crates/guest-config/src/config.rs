//! `/etc/vmroot/config.json`: how to run the image's command.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// The path of the init's config in a guest.
pub const CONFIG: &str = "/etc/vmroot/config.json";

/// The maximum size of the config in bytes. A larger environment could not be passed to a program.
pub const MAX_CONFIG: u64 = 4 << 20;

/// The process that an image runs. Empty fields are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// The environment variables, each as `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program that is always run, and its first arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The default arguments of the entrypoint; without an entrypoint, the command that is run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// The working directory. Empty means `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The user as the image names it: `USER[:GROUP]`, each a name or a number. Empty means root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The user's id, if it is already resolved in the image's `/etc/passwd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The group's id, if it is already resolved in the image's `/etc/passwd` and `/etc/group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// The settings of a guest, which an image does not have. Fields that are `None` are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuestSettings {
    /// The ids of the supplementary groups. `None` means the user's groups in the guest's `/etc/group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<u32>>,
    /// The guest's host name. `None` means the name in its `/etc/hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether the console is a terminal for the command, with echo and job control, or passes bytes unchanged. `None`
    /// means a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// The servers in `/etc/resolv.conf`, in place of the image's file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// The addresses of the first network interface. `None` leaves it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<GuestNetwork>,
    /// The first process, if it is the command and not the init.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid1: Option<Pid1>,
}

/// The addresses of a guest's network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestNetwork {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The length of the network's prefix in bits, 0 to 32.
    pub prefix: u8,
    /// The router to all other networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The name servers of the network. They are used if the image has no `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
}

/// The way in which the command is a first process, because it is an init itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pid1 {
    /// It replaces the init of the guest. It powers the machine off itself, and reports no exit code.
    Machine,
    /// It is the first process of a PID namespace, and the guest ends with it.
    Namespace,
}

impl GuestSettings {
    /// Returns whether the console is a terminal for the command.
    pub fn has_terminal(&self) -> bool {
        self.tty.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_not_written_and_need_not_be_there() {
        assert_eq!(serde_json::to_string(&Process::default()).unwrap(), "{}");
        assert_eq!(serde_json::to_string(&GuestSettings::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Process>("{}").unwrap(), Process::default());
        let settings: GuestSettings = serde_json::from_str(r#"{"env": [], "uid": null}"#).unwrap();
        assert_eq!(settings, GuestSettings::default());
        assert!(settings.has_terminal());
    }

    #[test]
    fn malformed_settings_are_errors() {
        for text in [
            r#"{"dns": ["example.org"]}"#,
            r#"{"network": {"address": "10.0.2.15/24"}}"#,
            r#"{"network": {"address": "10.0.2.15", "prefix": 256}}"#,
            r#"{"pid1": "init"}"#,
        ] {
            assert!(serde_json::from_str::<GuestSettings>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_page_lists_the_fields_in_order() {
        let process = Process {
            env: vec!["A=1".to_owned()],
            entrypoint: vec!["/e".to_owned()],
            cmd: vec!["c".to_owned()],
            working_dir: "/w".to_owned(),
            user: "u".to_owned(),
            uid: Some(7),
            gid: Some(8),
        };
        let network = GuestNetwork {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: vec![Ipv4Addr::new(10, 0, 2, 3).into()],
        };
        let settings = GuestSettings {
            groups: Some(vec![9]),
            hostname: Some("h".to_owned()),
            tty: Some(false),
            dns: vec![Ipv4Addr::LOCALHOST.into()],
            network: Some(network),
            pid1: Some(Pid1::Machine),
        };
        let process = serde_json::to_string_pretty(&process).unwrap();
        let settings = serde_json::to_string_pretty(&settings).unwrap();
        // Elements of lists are indented by more than two spaces.
        let fields =
            process.lines().chain(settings.lines()).filter_map(|line| line.strip_prefix("  \"")?.split('"').next());
        assert_eq!(fields.collect::<Vec<_>>(), crate::stage::tests::fields_of_page("## The config"));
    }
}
