//! The warnings of registries (OCI distribution-spec 1.1, "Warnings").

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;
use reqwest::header::{HeaderMap, WARNING};

/// The maximum number of different warnings that are logged.
const WARNING_LIMIT: usize = 100;

/// The maximum length of a logged warning, in characters.
const TEXT_LIMIT: usize = 400;

/// Logs each warning of each registry once.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<HashSet<(String, String)>>);

impl Warnings {
    /// Logs the new warnings in a response from `url`.
    pub(super) fn log(&self, url: &Url, headers: &HeaderMap) {
        for text in
            headers.get_all(WARNING).iter().filter_map(|value| parse(&String::from_utf8_lossy(value.as_bytes())))
        {
            let registry = url.host_str().unwrap_or_default().to_owned();
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < WARNING_LIMIT && seen.insert((registry.clone(), text.clone())) {
                tracing::warn!(registry, "the registry warns: {text}");
            }
        }
    }
}

/// Returns the text of `299 - "text"`. The specification allows no other code and agent.
fn parse(header: &str) -> Option<String> {
    let quoted = header.trim().strip_prefix("299 - \"")?;
    let mut text = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return (!text.is_empty()).then(|| text.chars().take(TEXT_LIMIT).collect()),
            '\\' => text.push(chars.next()?),
            char if char.is_control() => {}
            char => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings() {
        assert_eq!(parse(r#"299 - "soon \"gone\"""#).as_deref(), Some(r#"soon "gone""#));
        assert_eq!(parse(r#" 299 - "a" "Sun, 06 Nov 1994 08:49:37 GMT""#).as_deref(), Some("a"));
        assert_eq!(parse(&format!("299 - \"{}\"", "x".repeat(1000))).unwrap().len(), TEXT_LIMIT);
        for header in
            ["", "299", r#"299 - """#, r#"110 - "stale""#, r#"299 proxy "x""#, r#"299 - "open"#, r#"299 - "\"#]
        {
            assert_eq!(parse(header), None, "{header}");
        }
    }
}
