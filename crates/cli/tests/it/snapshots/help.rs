//! The summaries of help: `-h` of each verb.

use super::Transcript;
use crate::program::Program;

/// Returns the verbs that the program lists.
pub(crate) fn verbs(program: &Program) -> Vec<String> {
    let help = program.ok(["--help"]);
    let commands = help.split("Commands:").nth(1).expect("the help lists the commands");
    let entry = |line: &str| {
        let word = line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   "))?;
        Some(word.to_owned())
    };
    let listed = commands.lines().skip(1).take_while(|line| !line.trim().is_empty()).filter_map(entry);
    let verbs: Vec<String> = listed.filter(|verb| verb != "help").collect();
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
