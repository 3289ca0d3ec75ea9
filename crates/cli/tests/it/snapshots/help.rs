//! The summaries of help: `-h` of each verb.

use super::Transcript;
use crate::program::Program;

/// Returns the verbs that the program lists.
pub(crate) fn verbs(program: &Program) -> Vec<String> {
    let help = program.ok(["--help"]);
    let (_, listed) = help.split_once("\n\n").expect("a heading follows the description");
    let entry = |line: &str| {
        let rest = line.strip_prefix("  ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let listed = listed.split("options:").next().unwrap_or_default();
    let mut verbs: Vec<String> = listed.lines().filter_map(entry).filter(|verb| verb != "help").collect();
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
