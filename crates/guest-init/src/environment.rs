//! The command's environment: the image's variables, and the defaults of container engines.

use std::collections::BTreeMap;

/// The default search path for commands.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The `TERM` that Linux sets for its init on any console.
const KERNEL_TERM: &str = "linux";

/// Variables by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Returns the image's variables, the last of each name, and defaults for `PATH`, `HOSTNAME`, `HOME` and, on a
    /// terminal, `TERM`.
    ///
    /// `terminal` is the `TERM` from the kernel, or `None` if the console is not a terminal for the command.
    pub(crate) fn new(image: &[String], hostname: &str, terminal: Option<&str>, home: &str) -> Self {
        let mut environment = Self(BTreeMap::new());
        environment.set("PATH", DEFAULT_PATH);
        environment.set("HOSTNAME", hostname);
        if let Some(terminal) = terminal {
            // Serial consoles are usually shown by modern terminal emulators.
            environment.set("TERM", if terminal.is_empty() || terminal == KERNEL_TERM { "xterm" } else { terminal });
        }
        for (name, value) in image.iter().filter_map(|entry| entry.split_once('=')) {
            if !name.is_empty() {
                environment.set(name, value);
            }
        }
        if environment.get("HOME").is_none_or(str::is_empty) {
            environment.set("HOME", home);
        }
        environment
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(image: &[&str], terminal: Option<&str>) -> Vec<String> {
        let image: Vec<String> = image.iter().map(|&entry| entry.to_owned()).collect();
        let environment = Environment::new(&image, "guest", terminal, "/home/app");
        environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn an_empty_image_gets_the_defaults() {
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(environment(&[], None), ["HOME=/home/app", "HOSTNAME=guest", &path]);
        assert_eq!(environment(&[], Some("linux"))[3], "TERM=xterm");
        assert_eq!(environment(&[], Some("screen"))[3], "TERM=screen");
    }

    #[test]
    fn the_image_overrides_defaults_and_its_last_value_counts() {
        let set = environment(&["PATH=/a", "HOME=/h", "A=1=2", "A=", "B", "=c", "TERM=dumb"], Some("linux"));
        assert_eq!(set, ["A=", "HOME=/h", "HOSTNAME=guest", "PATH=/a", "TERM=dumb"]);
    }

    #[test]
    fn an_empty_home_is_replaced() {
        assert_eq!(environment(&["HOME="], None)[0], "HOME=/home/app");
    }
}
