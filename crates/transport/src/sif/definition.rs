//! The definition file that a container was built from.
//!
//! Only two of its sections matter, `%environment` and `%runscript`. They are read as containers/image does.

/// The start of a section's heading.
const HEADING: char = '%';

/// The path of the script in the image, as in containers/image.
pub(super) const RUNSCRIPT: &str = "podman/runscript";

/// The command of an image without a script.
const SHELL: &str = "bash";

/// The sections of a definition file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Definition {
    environment: Vec<String>,
    run: Vec<String>,
}

impl Definition {
    /// Parses a definition file. Bytes that are not UTF-8 are replaced.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut definition = Self::default();
        let mut section = None;
        for line in String::from_utf8_lossy(bytes).lines().map(str::trim) {
            match line {
                "%environment" => section = Some(true),
                "%runscript" => section = Some(false),
                _ if line.starts_with(HEADING) => section = None,
                _ if section == Some(true) && !line.is_empty() && !line.starts_with('#') => {
                    definition.environment.push(line.to_owned());
                }
                _ if section == Some(false) => definition.run.push(line.to_owned()),
                _ => {}
            }
        }
        definition
    }

    /// Returns the script, or `None` if the sections are empty.
    pub(super) fn script(&self) -> Option<String> {
        let lines = || self.environment.iter().chain(&self.run);
        lines().next()?;
        Some(lines().fold("#!/bin/bash\n".to_owned(), |script, line| script + line + "\n"))
    }

    /// Returns the command of the image.
    pub(super) fn command(&self) -> Vec<String> {
        vec![if self.script().is_some() { format!("/{RUNSCRIPT}") } else { SHELL.to_owned() }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_comes_before_the_script() {
        let text = "Bootstrap: docker\n%post\n  echo post\n%runscript\n  echo $A\n\n  # kept\n%environment\n\n  # left out\n  export A=1\n%labels\nx y\n";
        let definition = Definition::parse(text.as_bytes());
        assert_eq!(definition.script().unwrap(), "#!/bin/bash\nexport A=1\necho $A\n\n# kept\n");
        assert_eq!(definition.command(), ["/podman/runscript"]);
        for text in ["", "Bootstrap: docker\n%post\necho\n", "%environment\n# nothing\n"] {
            let definition = Definition::parse(text.as_bytes());
            assert_eq!((definition.script(), definition.command()), (None, vec!["bash".to_owned()]), "{text}");
        }
    }
}
