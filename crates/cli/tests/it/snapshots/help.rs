//! The summaries of help: `-h` of each verb.

use super::Transcript;
use crate::program::Program;

/// Returns the verbs that the program lists.
pub(crate) fn verbs(program: &Program) -> Vec<String> {
    let help = program.ok(["--help"]);
    let entry = |line: &str| Some(line.strip_prefix("  ")?.split_whitespace().next()?.to_owned());
    let mut verbs: Vec<String> = help.lines().take_while(|line| *line != "Global options:").filter_map(entry).collect();
    // Of `lease create` and `lease list`, the first word.
    verbs.dedup();
    assert!(verbs.len() > 30 && verbs.contains(&"pull".to_owned()), "{verbs:?}");
    verbs
}

#[test]
fn summaries_of_help() {
    let program = Program::new();
    let mut transcript = Transcript::new(&program);
    transcript.run(["-h"]);
    for verb in verbs(&program) {
        transcript.run([verb.as_str(), "-h"]);
    }
    transcript.check("summaries_of_help");
}
