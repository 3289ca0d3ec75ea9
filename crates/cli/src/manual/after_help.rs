//! The help after the options, such as examples, as sections of a page.

use clap::Command;
use clap_mangen::roff::{Roff, roman};

/// Writes the help after a command's options: a line `Title:` begins a section, indented lines stay as they are, and
/// other lines are paragraphs.
pub(super) fn sections(command: &Command, roff: &mut Roff) {
    let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) else { return };
    let text = text.to_string();
    let mut in_example = false;
    let mut has_title = false;
    for line in text.lines() {
        let is_indented = line.starts_with(char::is_whitespace) && !line.trim().is_empty();
        if in_example && !is_indented && !line.trim().is_empty() {
            roff.control("EE", []);
            roff.control("RE", []);
            in_example = false;
        }
        match line.strip_suffix(':').filter(|_| !is_indented) {
            Some(title) => {
                roff.control("SH", [title.to_uppercase().as_str()]);
                has_title = true;
            }
            None if is_indented => {
                if !in_example {
                    roff.control("RS", ["4"]);
                    roff.control("EX", []);
                    in_example = true;
                }
                roff.text([roman(line.trim_start())]);
            }
            // Blank lines between examples.
            None if line.trim().is_empty() && in_example => {
                roff.control("sp", []);
            }
            None if line.trim().is_empty() => {
                if has_title {
                    roff.control("PP", []);
                }
            }
            None => {
                if !has_title {
                    roff.control("SH", ["NOTES"]);
                    has_title = true;
                }
                roff.text([roman(line.trim())]);
            }
        }
    }
    if in_example {
        roff.control("EE", []);
        roff.control("RE", []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(help: &'static str) -> String {
        let mut roff = Roff::default();
        sections(&Command::new("x").after_help(help), &mut roff);
        let mut page = Vec::new();
        roff.to_writer(&mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn indented_lines_are_examples() {
        let page = page("Examples:\n  vmroot ls alpine /\n\n  vmroot ls -l alpine\n\nMore is in the README.");
        let lines: Vec<_> = page.lines().filter(|line| !line.contains("Aq") && !line.starts_with(".ie")).collect();
        let expected = [
            ".SH EXAMPLES",
            ".RS 4",
            ".EX",
            "vmroot ls alpine /",
            ".sp",
            "vmroot ls \\-l alpine",
            ".sp",
            ".EE",
            ".RE",
            "More is in the README.",
        ];
        assert!(lines.ends_with(&expected), "{page}");
    }

    #[test]
    fn a_text_without_a_title_is_a_note() {
        assert!(page("One sentence.").contains(".SH NOTES\nOne sentence.\n"));
        assert!(!page("").contains(".SH"));
    }
}
