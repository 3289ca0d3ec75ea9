//! Lines, words and lists of a Dockerfile.

/// Splits text into instructions: joins continued lines, and leaves out comments and empty lines.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let is_continued = line.trim_end().strip_suffix('\\');
        current.push_str(is_continued.unwrap_or(line));
        if is_continued.is_none() {
            lines.push(std::mem::take(&mut current));
        }
    }
    lines.push(current);
    lines.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Parses a JSON list of strings. Docker takes any other text for a command line.
pub(super) fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// Parses `name=value …`, or `name value` with the rest of the line as the value. Quotes and escapes stay.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = split(text);
    let pairs: Vec<(String, String)> = if words.first().is_some_and(|word| word.contains('=')) {
        let pair = |word: &String| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("{word:?} has no =; write name=value")),
        };
        words.iter().map(pair).collect::<Result<_, _>>()?
    } else {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("a value is missing; write name=value")?;
        vec![(name.to_owned(), value.trim_start().to_owned())]
    };
    match pairs.iter().any(|(name, _)| name.is_empty()) {
        true => Err("a name is empty".to_owned()),
        false => Ok(pairs),
    }
}

/// Splits text at whitespace that is neither quoted nor escaped. Quotes and escapes stay in the words.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                // A backslash at the end of the line escapes nothing.
                if let Some(escaped) = characters.next() {
                    word.extend(['\\', escaped]);
                }
                continue;
            }
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            (_, None) if character.is_whitespace() => {
                words.push(std::mem::take(&mut word));
                continue;
            }
            _ => {}
        }
        word.push(character);
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_whitespace_outside_quotes() {
        for (text, words) in [
            ("a b", &["a", "b"][..]),
            (" a=\"x y\"  b='p q' ", &["a=\"x y\"", "b='p q'"]),
            (r"a=x\ y b", &[r"a=x\ y", "b"]),
            (r#"a="x\" y" b"#, &[r#"a="x\" y""#, "b"]),
            (r"a='x\' b", &[r"a='x\'", "b"]),
            (r"a\", &["a"]),
            ("", &[]),
        ] {
            assert_eq!(split(text), words, "{text}");
        }
    }

    #[test]
    fn pairs_have_two_forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("A=1 B=\"2 3\"").unwrap(), [pair("A", "1"), pair("B", "\"2 3\"")]);
        assert_eq!(pairs("A  x y=z").unwrap(), [pair("A", "x y=z")]);
        assert_eq!(pairs("A==").unwrap(), [pair("A", "=")]);
        for wrong in ["A", "A=1 B", "=1"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }
}
