//! A page as a list of code blocks.

use std::fs;
use std::path::{Path, PathBuf};

/// A code block between two lines of backquotes.
pub(super) struct Block {
    /// The line of its start, for messages.
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) lines: Vec<String>,
}

/// The kind of a block, from the words after its backquotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// `console NEED`: commands after `$ `, each with its output. NEED is optional.
    Console(String),
    /// `sh stand-in PROGRAM`: a script, with a stand-in for a program that cannot run here.
    StandIn(String),
    /// `LANGUAGE not-run: REASON`.
    NotRun(String),
    /// `rust`: code that a test of the crate `vmroot` compiles.
    Rust,
    /// `json`: a document, or one document on each line.
    Json,
    /// `text`: text that does not run.
    Text,
}

/// A command of a console block, and its output.
pub(super) struct Example {
    pub(super) command: String,
    pub(super) output: Vec<String>,
}

impl Kind {
    fn parse(words: &str) -> Option<Self> {
        let (language, rest) = words.split_once(' ').unwrap_or((words, ""));
        Some(match (language, rest) {
            ("console", need) => Self::Console(need.to_owned()),
            ("rust" | "rust,no_run", "") => Self::Rust,
            ("json", "") => Self::Json,
            ("text", "") => Self::Text,
            ("sh", rest) if rest.starts_with("stand-in ") => Self::StandIn(rest["stand-in ".len()..].to_owned()),
            (_, rest) => Self::NotRun(rest.strip_prefix("not-run: ")?.to_owned()),
        })
    }
}

impl Block {
    /// Returns all blocks of a page.
    ///
    /// # Panics
    /// For an unknown kind: a new block must run, or give a reason.
    pub(super) fn all(page: &str) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        let mut inside = false;
        for (number, line) in page.lines().enumerate() {
            match (inside, line.strip_prefix("```")) {
                (false, Some(words)) => {
                    let kind = Kind::parse(words).unwrap_or_else(|| {
                        panic!("line {}: a block {words:?} does not run and gives no reason (not-run: …)", number + 1)
                    });
                    blocks.push(Self { line: number + 1, kind, lines: Vec::new() });
                    inside = true;
                }
                (true, Some("")) => inside = false,
                (true, _) => blocks.last_mut().expect("a block was begun").lines.push(line.to_owned()),
                (false, None) => {}
            }
        }
        assert!(!inside, "the last block has no end");
        blocks
    }

    /// Returns the commands of a console block.
    pub(super) fn examples(&self) -> Vec<Example> {
        let mut examples: Vec<Example> = Vec::new();
        for line in &self.lines {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => examples.push(Example { command: command.to_owned(), output: Vec::new() }),
                (None, Some(example)) => example.output.push(line.clone()),
                (None, None) => panic!("line {}: output without a command", self.line),
            }
        }
        examples
    }
}

/// Returns the top directory of the checkout.
pub(super) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

pub(super) fn read(name: &str) -> String {
    fs::read_to_string(checkout().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the paths of the user's pages, relative to the checkout.
pub(super) fn all() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    let mut pending = vec![PathBuf::from("docs")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(checkout().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.path().is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    pages.sort();
    pages
}
