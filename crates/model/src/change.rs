//! Changes of an image's config: the instructions of a Dockerfile that `docker commit --change` accepts.

mod apply;
mod expand;
mod healthcheck;
mod words;

use crate::{Error, Healthcheck};

/// A change of the defaults for containers.
///
/// ```
/// use vmroot_model::ConfigChange;
///
/// assert_eq!(ConfigChange::parse("USER 1000")?, [ConfigChange::User("1000".to_owned())]);
/// assert!(ConfigChange::parse("RUN make").is_err());
/// # Ok::<(), vmroot_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigChange {
    /// `CMD`: the program and its arguments.
    Cmd(CommandLine),
    /// `ENTRYPOINT`: the program and its first arguments. Also clears the command, unless an earlier change sets it.
    Entrypoint(CommandLine),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `ENV`: names and values of variables. Both may refer to variables of the image.
    Env(Vec<(String, String)>),
    /// `LABEL`: names and values, as for [`Self::Env`].
    Label(Vec<(String, String)>),
    /// `EXPOSE`: ports such as `80`, `80/udp` or `8000-8010/tcp`.
    Expose(Vec<String>),
    /// `ONBUILD`: an instruction for builds on top of the image.
    OnBuild(String),
    /// `STOPSIGNAL`: a signal's name or number.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`: paths.
    Volume(Vec<String>),
    /// `WORKDIR`: a path. A relative one continues the image's own.
    WorkingDir(String),
}

/// The command of [`ConfigChange::Cmd`] or [`ConfigChange::Entrypoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// The program and its arguments, written as a JSON list.
    Exec(Vec<String>),
    /// A command for the image's shell. An empty one is no command.
    Shell(String),
}

impl ConfigChange {
    /// The names of the instructions that are changes.
    pub const INSTRUCTIONS: [&str; 11] = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];

    /// Parses instructions, one a line. Their names may have any case. A backslash at the end of a line continues it, and
    /// lines that begin with `#` are comments, as in a Dockerfile.
    ///
    /// # Errors
    /// [`Error::InvalidChange`]: an instruction is unknown, not allowed here, or lacks its arguments.
    pub fn parse(text: &str) -> crate::Result<Vec<Self>> {
        words::lines(text).iter().map(|line| Self::parse_line(line)).collect()
    }

    fn parse_line(line: &str) -> crate::Result<Self> {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (name, rest) = (name.to_ascii_uppercase(), rest.trim());
        let invalid = |reason: String| Error::InvalidChange { change: line.to_owned(), reason };
        if rest.is_empty() && !matches!(name.as_str(), "CMD" | "ENTRYPOINT") {
            let is_known = Self::INSTRUCTIONS.contains(&name.as_str());
            return Err(invalid(if is_known { format!("{name} needs arguments") } else { unknown(&name) }));
        }
        let parsed = match name.as_str() {
            "CMD" => Ok(Self::Cmd(CommandLine::parse(rest))),
            "ENTRYPOINT" => Ok(Self::Entrypoint(CommandLine::parse(rest))),
            "HEALTHCHECK" => healthcheck::parse(rest).map(Self::Healthcheck),
            "ENV" => words::pairs(rest).map(Self::Env),
            "LABEL" => words::pairs(rest).map(Self::Label),
            "EXPOSE" => Ok(Self::Expose(rest.split_whitespace().map(str::to_owned).collect())),
            "ONBUILD" => on_build(rest).map(Self::OnBuild),
            "STOPSIGNAL" => Ok(Self::StopSignal(rest.to_owned())),
            "USER" => Ok(Self::User(rest.to_owned())),
            "VOLUME" => Ok(Self::Volume(match words::json_list(rest) {
                Some(list) => list,
                None => rest.split_whitespace().map(str::to_owned).collect(),
            })),
            "WORKDIR" => Ok(Self::WorkingDir(rest.to_owned())),
            _ => Err(unknown(&name)),
        };
        parsed.map_err(invalid)
    }
}

fn unknown(name: &str) -> String {
    format!("{name} is not a valid change")
}

impl CommandLine {
    fn parse(text: &str) -> Self {
        words::json_list(text).map_or_else(|| Self::Shell(text.to_owned()), Self::Exec)
    }
}

fn on_build(text: &str) -> Result<String, String> {
    let trigger = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match trigger.as_str() {
        "ONBUILD" | "MAINTAINER" | "FROM" => Err(format!("{trigger} is not allowed after ONBUILD")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> ConfigChange {
        let mut changes = ConfigChange::parse(text).unwrap();
        assert_eq!(changes.len(), 1, "{text}");
        changes.remove(0)
    }

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn instructions_are_those_of_docker() {
        assert_eq!(one("CMD [\"a\", \"b c\"]"), ConfigChange::Cmd(CommandLine::Exec(owned(&["a", "b c"]))));
        assert_eq!(one("cmd  a 'b' "), ConfigChange::Cmd(CommandLine::Shell("a 'b'".to_owned())));
        assert_eq!(one("CMD ['a']"), ConfigChange::Cmd(CommandLine::Shell("['a']".to_owned())));
        assert_eq!(one("CMD"), ConfigChange::Cmd(CommandLine::Shell(String::new())));
        assert_eq!(one("ENTRYPOINT []"), ConfigChange::Entrypoint(CommandLine::Exec(Vec::new())));
        assert_eq!(one("EXPOSE 80  443/udp"), ConfigChange::Expose(owned(&["80", "443/udp"])));
        assert_eq!(one("VOLUME /a /b"), ConfigChange::Volume(owned(&["/a", "/b"])));
        assert_eq!(one("VOLUME [\"/a b\"]"), ConfigChange::Volume(owned(&["/a b"])));
        assert_eq!(one("OnBuild RUN  make"), ConfigChange::OnBuild("RUN  make".to_owned()));
        assert_eq!(one("WORKDIR a b"), ConfigChange::WorkingDir("a b".to_owned()));
    }

    #[test]
    fn lines_are_continued_and_comments_left_out() {
        let changes = ConfigChange::parse("# first\nUSER a\n\n  ENV A=1 \\\n  # inside\n  B=2\n").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            changes,
            [ConfigChange::User("a".to_owned()), ConfigChange::Env(vec![pair("A", "1"), pair("B", "2")])]
        );
        assert_eq!(ConfigChange::parse(" \n").unwrap(), []);
    }

    #[test]
    fn other_instructions_and_missing_arguments_are_refused() {
        for text in ["RUN x", "FROM x", "SHELL [\"x\"]", "COPY a b", "x", "MAINTAINER me"] {
            let error = ConfigChange::parse(text).unwrap_err().to_string();
            assert!(error.contains("is not a valid change"), "{error}");
        }
        for text in ["ENV", "ENV A", "LABEL =x", "USER ", "EXPOSE", "ONBUILD ONBUILD RUN x", "ONBUILD from x"] {
            assert!(ConfigChange::parse(text).is_err(), "{text}");
        }
    }
}
