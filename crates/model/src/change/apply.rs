//! Applying changes to the `config` member of an image's config.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::Error;
use crate::json_text::{RawObject, raw};

use super::expand::expand;
use super::{CommandLine, ConfigChange};

/// The most ports of one range of `EXPOSE`.
const MAX_PORTS: u16 = 4096;

/// The shell for commands in shell form, if the image has no other.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A list of which only the names count: `{"80/tcp":{}}`.
type Names = BTreeMap<String, Box<RawValue>>;

impl ConfigChange {
    /// Applies changes in order. Each may refer to the variables that the earlier ones set.
    pub(crate) fn apply_all(changes: &[Self], config: &mut RawObject) -> crate::Result<()> {
        let mut has_command = false;
        for change in changes {
            let applied = change.apply(config, &mut has_command);
            applied.map_err(|reason| Error::InvalidChange { change: change.name().to_owned(), reason })?;
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Expose(_) => "EXPOSE",
            Self::OnBuild(_) => "ONBUILD",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::WorkingDir(_) => "WORKDIR",
        }
    }

    fn apply(&self, config: &mut RawObject, has_command: &mut bool) -> Result<(), String> {
        let variables = variables(config);
        let expanded = |word: &str| expand(word, &variables);
        match self {
            Self::Cmd(command) => {
                config.set("Cmd", &command.arguments(config));
                *has_command = true;
            }
            Self::Entrypoint(command) => {
                config.set("Entrypoint", &command.arguments(config));
                if !*has_command {
                    config.remove("Cmd");
                }
            }
            Self::Healthcheck(check) => config.set("Healthcheck", check),
            Self::Env(pairs) => {
                let mut env: Vec<String> = strings(config, "Env");
                for (name, value) in pairs {
                    set_variable(&mut env, &expanded(name)?, &expanded(value)?);
                }
                config.set("Env", &env);
            }
            Self::Label(pairs) => {
                let mut labels: BTreeMap<String, Option<String>> = config.parsed("Labels");
                for (name, value) in pairs {
                    labels.insert(expanded(name)?, Some(expanded(value)?));
                }
                config.set("Labels", &labels);
            }
            Self::Expose(ports) => {
                let mut all = Vec::new();
                for word in ports {
                    for port in expanded(word)?.split_whitespace() {
                        all.extend(parse_ports(port)?);
                    }
                }
                add_names(config, "ExposedPorts", all);
            }
            Self::OnBuild(instruction) => {
                let mut all = strings(config, "OnBuild");
                all.push(instruction.clone());
                config.set("OnBuild", &all);
            }
            Self::StopSignal(signal) => config.set("StopSignal", &checked_signal(expanded(signal)?)?),
            Self::User(user) => config.set("User", &expanded(user)?),
            Self::Volume(paths) => {
                let path = |path: &String| Some(expanded(path).map(|it| it.trim().to_owned()));
                let paths = paths.iter().filter_map(path).collect::<Result<Vec<_>, _>>()?;
                if paths.iter().any(String::is_empty) {
                    return Err("a path is empty".to_owned());
                }
                add_names(config, "Volumes", paths);
            }
            Self::WorkingDir(path) => {
                let current: String = config.parsed("WorkingDir");
                config.set("WorkingDir", &joined(&current, &expanded(path)?)?);
            }
        }
        Ok(())
    }
}

impl CommandLine {
    /// Returns the arguments, with the image's shell for a command in shell form.
    fn arguments(&self, config: &RawObject) -> Vec<String> {
        match self {
            Self::Exec(arguments) => arguments.clone(),
            Self::Shell(command) if command.is_empty() => Vec::new(),
            Self::Shell(command) => {
                let mut shell = strings(config, "Shell");
                if shell.is_empty() {
                    shell = SHELL.map(str::to_owned).to_vec();
                }
                shell.push(command.clone());
                shell
            }
        }
    }
}

fn strings(config: &RawObject, name: &str) -> Vec<String> {
    config.parsed::<Vec<Option<String>>>(name).into_iter().flatten().collect()
}

/// Returns the names and values of the image's variables.
fn variables(config: &RawObject) -> Vec<(String, String)> {
    let pair = |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    strings(config, "Env").into_iter().filter_map(pair).collect()
}

fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let text = format!("{name}={value}");
    match env.iter_mut().find(|own| own.split('=').next() == Some(name)) {
        Some(own) => *own = text,
        None => env.push(text),
    }
}

fn add_names(config: &mut RawObject, member: &str, names: Vec<String>) {
    let mut all: Names = config.parsed(member);
    for name in names {
        all.entry(name).or_insert_with(|| raw(&RawObject::default()));
    }
    config.set(member, &all);
}

/// Parses `[[ADDRESS:]PORT:]PORT[-PORT][/PROTOCOL]` into the ports of the container.
fn parse_ports(text: &str) -> Result<Vec<String>, String> {
    let invalid = || format!("{text:?} is not a port such as 80, 80/udp or 8000-8010/tcp");
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("{text:?}: the protocol must be tcp, udp or sctp"));
    }
    let ports = ports.rsplit(':').next().unwrap_or(ports);
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    if last < first {
        return Err(invalid());
    }
    if last - first >= MAX_PORTS {
        return Err(format!("{text:?} has more than {MAX_PORTS} ports"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The signals of Linux that have names.
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
    "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// The largest number of a signal of Linux.
const LAST_SIGNAL: u32 = 64;

fn checked_signal(text: String) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str| name.strip_prefix(prefix).map(|rest| rest.parse::<u32>());
    let is_known = match text.parse::<u32>() {
        Ok(number) => (1..=LAST_SIGNAL).contains(&number),
        Err(_) if ["RTMIN", "RTMAX"].contains(&name) || SIGNALS.contains(&name) => true,
        Err(_) => [offset("RTMIN+"), offset("RTMAX-")].into_iter().flatten().any(|it| it.is_ok_and(|it| it <= 15)),
    };
    if is_known { Ok(text) } else { Err(format!("{text:?} is not a signal")) }
}

/// Continues a path, and removes empty components, `.` and `..`. As in Docker, an absolute path stays as it is written.
fn joined(current: &str, path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let mut components = Vec::new();
    for component in current.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    Ok(format!("/{}", components.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_apply(config: &str, changes: &[&str]) -> crate::Result<String> {
        let mut config: RawObject = serde_json::from_str(config).unwrap();
        let changes: Vec<ConfigChange> = changes.iter().flat_map(|text| ConfigChange::parse(text).unwrap()).collect();
        ConfigChange::apply_all(&changes, &mut config)?;
        Ok(raw(&config).get().to_owned())
    }

    /// The expected members are those of `docker commit --change`.
    #[test]
    fn changes_are_those_of_docker() {
        let command = r#"{"Cmd":["old"]}"#;
        for (config, changes, expected) in [
            ("{}", &["CMD a b"][..], r#"{"Cmd":["/bin/sh","-c","a b"]}"#),
            (r#"{"Shell":["/x"]}"#, &["CMD a"], r#"{"Shell":["/x"],"Cmd":["/x","a"]}"#),
            (command, &["CMD []"], r#"{"Cmd":[]}"#),
            (command, &[r#"ENTRYPOINT ["e"]"#], r#"{"Entrypoint":["e"]}"#),
            (command, &["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"], r#"{"Cmd":["c"],"Entrypoint":["e"]}"#),
            (r#"{"Env":["A=1","AB=2"]}"#, &["ENV A=\"$AB x\" C=$A"], r#"{"Env":["A=2 x","AB=2","C=1"]}"#),
            (r#"{"Env":null}"#, &["ENV A 1", "ENV B=$A$A"], r#"{"Env":["A=1","B=11"]}"#),
            (r#"{"Labels":{"b":"1"}}"#, &["LABEL a=\"x y\" b=2"], r#"{"Labels":{"a":"x y","b":"2"}}"#),
            (
                r#"{"ExposedPorts":{"1/tcp":{}}}"#,
                &["EXPOSE 80 90-91/UDP"],
                r#"{"ExposedPorts":{"1/tcp":{},"80/tcp":{},"90/udp":{},"91/udp":{}}}"#,
            ),
            ("{}", &["EXPOSE 8080:80"], r#"{"ExposedPorts":{"80/tcp":{}}}"#),
            (r#"{"Volumes":{"/a":{}}}"#, &["VOLUME /b"], r#"{"Volumes":{"/a":{},"/b":{}}}"#),
            (r#"{"WorkingDir":"/a/b"}"#, &["WORKDIR ../c/"], r#"{"WorkingDir":"/a/c"}"#),
            (r#"{"Env":["D=/d"]}"#, &["WORKDIR $D"], r#"{"Env":["D=/d"],"WorkingDir":"/d"}"#),
            ("{}", &["WORKDIR x"], r#"{"WorkingDir":"/x"}"#),
            ("{}", &["USER a:b", "STOPSIGNAL sigterm"], r#"{"User":"a:b","StopSignal":"sigterm"}"#),
            (r#"{"OnBuild":["RUN a"]}"#, &["ONBUILD RUN b"], r#"{"OnBuild":["RUN a","RUN b"]}"#),
            ("{}", &["HEALTHCHECK NONE"], r#"{"Healthcheck":{"Test":["NONE"]}}"#),
            (r#"{"Odd":[1]}"#, &["USER x"], r#"{"Odd":[1],"User":"x"}"#),
        ] {
            assert_eq!(try_apply(config, changes).unwrap(), expected, "{config} {changes:?}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for change in [
            "EXPOSE x",
            "EXPOSE 70000",
            "EXPOSE 9-8",
            "EXPOSE 1-65535",
            "EXPOSE 80/xyz",
            "STOPSIGNAL x",
            "STOPSIGNAL 65",
            "STOPSIGNAL SIGRTMIN+99",
            "VOLUME [\"\"]",
            "USER 'a",
            "WORKDIR $NONE",
        ] {
            let error = try_apply("{}", &[change]).unwrap_err().to_string();
            let name = change.split(' ').next().unwrap();
            assert!(error.contains(name), "{error}");
        }
    }
}
