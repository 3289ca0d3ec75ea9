//! Matching the documented output of a command: `…` stands for any text.

/// Returns whether lines match `pattern`. A line of `…` alone matches any number of lines.
pub(super) fn lines_match(pattern: &[&str], lines: &[&str]) -> bool {
    match (pattern, lines) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=lines.len()).any(|skipped| lines_match(rest, &lines[skipped..])),
        ([first, rest @ ..], [line, below @ ..]) => line_matches(first, line) && lines_match(rest, below),
        _ => false,
    }
}

/// Returns whether a line matches `pattern`. `…` matches any text within the line.
fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    last.map_or(rest.is_empty(), |last| last.is_empty() || line.ends_with(last))
}

#[test]
fn ellipsis_matches_any_text() {
    assert!(lines_match(&["a", "…", "z"], &["a", "z"]));
    assert!(lines_match(&["a", "…", "z"], &["a", "b", "c", "z"]));
    assert!(!lines_match(&["a", "…", "z"], &["a", "b"]));
    assert!(line_matches("freed … in … files", "freed 3 B in 2 files"));
    assert!(line_matches("freed …", "freed 3 B"));
    assert!(!line_matches("freed … files", "freed 3 files, no more"));
    assert!(line_matches("… 0 damaged", "all of it, 0 damaged"));
    assert!(!line_matches("exact", "exactly"));
}
