//! Configs of Docker before 1.8.3, which lack members that later versions expect.

use serde_json::value::RawValue;

use crate::go_time;
use crate::json_text::{RawObject, is_empty_value, raw};

/// A member of a config, and its value if it is missing. `None` stands for no member.
type Member = (&'static str, Option<&'static str>);

/// The members of an image's config other than its ids and its size. All others are dropped.
const IMAGE: [Member; 8] = [
    ("comment", None),
    ("container", None),
    ("docker_version", None),
    ("author", None),
    ("config", None),
    ("architecture", None),
    ("variant", None),
    ("os", None),
];

/// The members of a container's config, in the order of Docker. All others are dropped.
const CONTAINER: [Member; 25] = [
    ("Hostname", Some("\"\"")),
    ("Domainname", Some("\"\"")),
    ("User", Some("\"\"")),
    ("AttachStdin", Some("false")),
    ("AttachStdout", Some("false")),
    ("AttachStderr", Some("false")),
    ("ExposedPorts", None),
    ("Tty", Some("false")),
    ("OpenStdin", Some("false")),
    ("StdinOnce", Some("false")),
    ("Env", Some("null")),
    ("Cmd", Some("null")),
    ("Healthcheck", None),
    ("ArgsEscaped", None),
    ("Image", Some("\"\"")),
    ("Volumes", Some("null")),
    ("WorkingDir", Some("\"\"")),
    ("Entrypoint", Some("null")),
    ("NetworkDisabled", None),
    ("MacAddress", None),
    ("OnBuild", Some("null")),
    ("Labels", Some("null")),
    ("StopSignal", None),
    ("StopTimeout", None),
    ("Shell", None),
];

/// Returns whether a config is of a version of Docker before 1.8.3. Without a version, it is not.
pub(super) fn is_legacy(config: &RawObject) -> bool {
    let version: String = config.parsed("docker_version");
    let mut numbers = version.split('.').map(|it| it.parse::<u64>().unwrap_or_default());
    let version_numbers = [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default);
    !version.is_empty() && version_numbers < [1, 8, 3]
}

/// Returns a config with all members that later versions expect.
pub(super) fn completed(config: &RawObject) -> RawObject {
    let mut complete = with_members(config, &IMAGE);
    let created: Option<String> = config.parsed("created");
    complete.set("created", &go_time::or_zero(created.as_deref()));
    complete.set("container_config", &with_members(&config.parsed("container_config"), &CONTAINER));
    if complete.get("config").is_some() {
        complete.set("config", &with_members(&config.parsed("config"), &CONTAINER));
    }
    complete
}

fn with_members(object: &RawObject, members: &[Member]) -> RawObject {
    let mut complete = RawObject::default();
    for (name, default) in members {
        let value = object.get(name).filter(|it| it.get() != "null");
        match (value, default) {
            (Some(value), Some(_)) => complete.set(name, value),
            // A config without members counts, unlike other empty values.
            (Some(value), None) if !is_empty_value(value) || *name == "config" => complete.set(name, value),
            (None, Some(default)) => complete.set(name, &default_value(default)),
            (_, None) => {}
        }
    }
    complete
}

fn default_value(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| raw(&()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_1_8_3_are_legacy() {
        for (version, legacy) in [
            ("1.8.2", true),
            ("1.8", true),
            ("1.7.12", true),
            ("0.9.1", true),
            ("1.8.2-el7.centos", true),
            ("1.8.3", false),
            ("1.8.10", false),
            ("1.10.0", false),
            ("19.03", false),
            ("", false),
        ] {
            let config: RawObject = serde_json::from_str(&format!(r#"{{"docker_version":"{version}"}}"#)).unwrap();
            assert_eq!(is_legacy(&config), legacy, "{version}");
        }
        assert!(!is_legacy(&RawObject::default()));
    }
}
