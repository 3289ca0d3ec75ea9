//! Scripts that start a machine on another host.

use std::ffi::OsString;
use std::path::Path;

use crate::error::hint;
use crate::{Accelerator, BuiltMachine, Result, quote};

/// Reads the console from a pipe, beside the output, and finds the exit code there.
const WITH_EXIT_CODE: &str = r#"
# The init writes the exit code of the guest's command to the console.
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
trap 'exit 130' HUP INT TERM
mkfifo "$temporary/console" || exit 1
sed -n 's/^.*\[vmroot-init\] exit code \([0-9][0-9]*\).*$/\1/p' <"$temporary/console" >"$temporary/code" &
start "$@" | tee "$temporary/console"
wait
code=$(tail -n 1 "$temporary/code")
if [ -z "$code" ]; then
    echo "$0: the guest ended without an exit code" >&2
    exit 1
fi
exit "$code"
"#;

/// Returns the script of [`BuiltMachine::script`].
pub(crate) fn write(built: &BuiltMachine, config: &Path, title: &str) -> Result<Vec<u8>> {
    let command = built.command(config)?;
    let program = &command.program;
    let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut script = format!("#!/bin/sh\n# {title}\n# Made by `vmroot boot --output`. Needs {program}").into_bytes();
    if built.is_automatic() {
        script.extend(b"; uses KVM if this machine has it, unless ACCEL is kvm or tcg");
    }
    script.extend(b".\n\ncd \"$(dirname \"$0\")\" || exit 1\n");
    let missing = format!("{program} is not installed{}", hint(program));
    script.extend(format!("command -v {program} >/dev/null || {{ echo \"$0: {missing}\" >&2; exit 1; }}\n").bytes());
    let arguments = if built.is_automatic() {
        add_choice(built, config, &mut script)?
    } else {
        script.extend(b"set --\n");
        command.arguments
    };
    script.extend(b"start() {\n    ");
    script.extend(program.bytes());
    script.extend(b" \"$@\"");
    for line in lines(&arguments) {
        script.extend(b" \\\n        ");
        script.extend(line);
    }
    script.extend(b"\n}\n");
    match built.reports_exit_code() {
        true => script.extend(WITH_EXIT_CODE.bytes()),
        false => script.extend(b"start \"$@\"\n"),
    }
    Ok(script)
}

/// Adds the choice of the accelerator. Returns the arguments that do not depend on it.
fn add_choice(built: &BuiltMachine, config: &Path, script: &mut Vec<u8>) -> Result<Vec<OsString>> {
    let kvm = built.command_with(Accelerator::Kvm, config)?.arguments;
    let tcg = built.command_with(Accelerator::Tcg, config)?.arguments;
    // The values of options differ, and their names are before them.
    let differs = |at: usize| kvm[at] != tcg[at];
    let of_choice = |at: usize| differs(at) || at + 1 < kvm.len() && differs(at + 1);
    let words = |arguments: &[OsString]| -> Vec<u8> {
        let chosen = (0..arguments.len()).filter(|at| of_choice(*at)).map(|at| quote(&arguments[at]));
        chosen.collect::<Vec<_>>().join(&b' ')
    };
    let architecture = built.machine().architecture;
    script.extend(
        format!(
            "if [ -z \"$ACCEL\" ]; then\n    ACCEL=tcg\n    \
             if [ \"$(uname -m)\" = {architecture} ] && [ -r /dev/kvm ] && [ -w /dev/kvm ]; then ACCEL=kvm; fi\nfi\n"
        )
        .bytes(),
    );
    script.extend([b"if [ \"$ACCEL\" = kvm ]; then\n    set -- ".to_vec(), words(&kvm)].concat());
    script.extend([b"\nelse\n    set -- ".to_vec(), words(&tcg), b"\nfi\n".to_vec()].concat());
    Ok((0..kvm.len()).filter(|at| !of_choice(*at)).map(|at| kvm[at].clone()).collect())
}

/// Returns the arguments, quoted, with each option and its values on a line.
fn lines(arguments: &[OsString]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for argument in arguments {
        match lines.last_mut() {
            Some(line) if !argument.as_encoded_bytes().starts_with(b"-") => {
                line.push(b' ');
                line.extend(quote(argument));
            }
            _ => lines.push(quote(argument)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_has_a_line() {
        let arguments = ["-nodefaults", "-m", "1M", "--disk", "a b", "c"].map(OsString::from);
        let expected = ["-nodefaults", "-m 1M", "--disk 'a b' c"].map(|line| line.as_bytes().to_vec());
        assert_eq!(lines(&arguments), expected);
    }
}
