//! Processes that serve mounts, and mount namespaces.

use std::fs;

use serde_json::{Value, json};

/// A process that serves a mount, as it was when it mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServingProcess {
    pub(crate) pid: u32,
    /// The time of its start, in ticks since the start of the machine. Later processes with its id have another one.
    started: u64,
    /// The namespace in which it has this id.
    namespace: String,
}

impl ServingProcess {
    /// Returns this process.
    pub(crate) fn current() -> Option<Self> {
        let pid = std::process::id();
        Some(Self { pid, started: start_time(pid)?, namespace: namespace(std::process::id(), "pid")? })
    }

    /// Returns whether the process has ended. `None` if its id belongs to another namespace.
    pub(crate) fn has_ended(&self) -> Option<bool> {
        let is_same_namespace = namespace(std::process::id(), "pid")? == self.namespace;
        is_same_namespace.then(|| start_time(self.pid) != Some(self.started))
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "pid": self.pid, "started": self.started, "namespace": self.namespace })
    }

    pub(super) fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            pid: value["pid"].as_u64()?.try_into().ok()?,
            started: value["started"].as_u64()?,
            namespace: value["namespace"].as_str()?.to_owned(),
        })
    }
}

/// Returns the start of a process that has not ended (proc_pid_stat(5)).
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may contain any character.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok()).flatten()
}

/// Returns a namespace of a process, as `/proc/PID/ns/KIND` names it.
pub(super) fn namespace(pid: u32, kind: &str) -> Option<String> {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()?.into_os_string().into_string().ok()
}

/// Returns a process in a mount namespace.
pub(super) fn process_in(mount_namespace: &str) -> Option<u32> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| namespace(*pid, "mnt").as_deref() == Some(mount_namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_apart_from_later_ones_with_their_id() {
        let own = ServingProcess::current().unwrap();
        assert_eq!(own.has_ended(), Some(false));
        assert_eq!(ServingProcess { started: own.started + 1, ..own.clone() }.has_ended(), Some(true));
        assert_eq!(ServingProcess { namespace: "pid:[1]".to_owned(), ..own.clone() }.has_ended(), None);
        assert_eq!(ServingProcess::parse(&own.to_json()), Some(own));
        assert!(process_in(&namespace(std::process::id(), "mnt").unwrap()).is_some());
    }
}
