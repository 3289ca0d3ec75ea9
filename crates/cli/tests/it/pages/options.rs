//! Checks of the commands and options that a page names, in code between backquotes or in blocks that do not run.

use std::collections::HashMap;

use super::page::{self, Block, Kind};
use crate::program::Program;

/// The output of `--help` for each command.
#[derive(Default)]
struct Help(HashMap<String, String>);

impl Help {
    fn of(&mut self, program: &Program, verb: &[&str]) -> &str {
        let key = verb.join(" ");
        self.0.entry(key).or_insert_with(|| program.ok(verb.iter().copied().chain(["--help"])))
    }
}

#[test]
fn commands_of_the_pages_exist() {
    let program = Program::new();
    let mut help = Help::default();
    let mut commands = 0;
    for name in page::all() {
        let text = page::read(&name);
        let blocks = Block::all(&text);
        let not_run = blocks.iter().filter(|block| matches!(block.kind, Kind::NotRun(_)));
        let lines = not_run.flat_map(|block| block.lines.iter().cloned());
        for command in code_spans(&text).into_iter().chain(lines) {
            let Some(arguments) = command.strip_prefix("vmroot ").filter(|rest| !rest.starts_with('=')) else {
                continue;
            };
            commands += 1;
            check(&program, &mut help, &name, arguments);
        }
    }
    assert!(commands >= 10, "{commands}");
}

fn check(program: &Program, help: &mut Help, page: &str, arguments: &str) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    // Arguments after `--` are the guest's.
    let words: Vec<&str> = words.into_iter().take_while(|word| *word != "--" && *word != "[--").collect();
    let mut verb = words.iter().copied().filter(|word| !word.starts_with('-'));
    let verb: Vec<&str> = match verb.next() {
        Some(group @ ("disk" | "layer" | "lease" | "registries")) => [group].into_iter().chain(verb.next()).collect(),
        verb => verb.into_iter().collect(),
    };
    let help = help.of(program, &verb);
    for option in words.iter().filter_map(|word| word.trim_start_matches('[').strip_prefix("--")) {
        let end = option.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(option.len());
        let option = format!("--{}", &option[..end]);
        let follows = |at: usize| help[at + option.len()..].chars().next();
        let is_there =
            help.match_indices(&option).any(|(at, _)| follows(at).is_none_or(|c| c != '-' && !c.is_alphanumeric()));
        assert!(is_there, "{page}: `vmroot {arguments}`: {verb:?} has no {option}");
    }
}

/// Returns the code between backquotes, outside of blocks.
fn code_spans(text: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose += line;
            prose.push('\n');
        }
    }
    // A span ends within its paragraph.
    let spans = |paragraph: &str| paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    prose.split("\n\n").flat_map(spans).map(|span| span.replace('\n', " ")).collect()
}
