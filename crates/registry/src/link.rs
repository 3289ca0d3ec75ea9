//! The `Link` header (RFC 8288): the URL of the next page of a list.

use reqwest::header::{HeaderMap, LINK};

/// Returns the target of the first link with the relation `next` in all `Link` headers of a response.
pub(crate) fn next(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

/// Returns the target of the first link with the relation `next` in one header: `<target>; name=value; ..., <target>`.
fn next_in(header: &str) -> Option<String> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        rest = after;
        let mut relation = None;
        loop {
            rest = rest.trim_start();
            let Some(after) = rest.strip_prefix(';') else { break };
            let (name, value, after) = parameter(after);
            rest = after;
            // The first of several counts (RFC 8288, section 3.3).
            if name.eq_ignore_ascii_case("rel") && relation.is_none() {
                relation = Some(value);
            }
        }
        // A relation is a list of types.
        if relation.is_some_and(|relation| relation.split_ascii_whitespace().any(|it| it.eq_ignore_ascii_case("next")))
        {
            return Some(target.trim().to_owned());
        }
        // Skips a malformed rest of the link.
        rest = rest.split_once(',')?.1;
    }
}

/// Reads a parameter. Returns its name, its value, and the text after it.
fn parameter(text: &str) -> (&str, String, &str) {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim();
    let Some(rest) = rest.strip_prefix('=').map(str::trim_start) else { return (name, String::new(), rest) };
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([';', ',']).unwrap_or(rest.len());
        let (value, rest) = rest.split_at(end);
        return (name, value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (name, value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            char => value.push(char),
        }
    }
    (name, value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_links() {
        for header in [
            r#"</v2/a/tags/list?n=2&last=b>; rel="next""#,
            "</v2/a/tags/list?n=2&last=b>;rel=next",
            r#" < /v2/a/tags/list?n=2&last=b > ; REL = "prev Next" ; title="x""#,
            r#"</first>; rel="first", </v2/a/tags/list?n=2&last=b>; rel="next""#,
            r#"</x>; title="a, b; rel=next \" >"; rel=prev , </v2/a/tags/list?n=2&last=b>; title=x; rel="next"; rel=prev"#,
            r#"</x>, </v2/a/tags/list?n=2&last=b>; rel=next"#,
            r#"</x> junk, </v2/a/tags/list?n=2&last=b>; rel=next"#,
        ] {
            assert_eq!(next_in(header).as_deref(), Some("/v2/a/tags/list?n=2&last=b"), "{header}");
        }
    }

    #[test]
    fn other_links() {
        for header in [
            "",
            "</x>",
            "</x>; rel=prev",
            "</x>; rel=\"prev",
            "</x>; rel=prev; rel=next",
            "</x; rel=next",
            "/x; rel=next",
            "</x>; title=next",
            "</x>; rel=nextish",
            ",,,",
            "<>",
        ] {
            assert_eq!(next_in(header), None, "{header}");
        }
    }

    #[test]
    fn several_headers() {
        let mut headers = HeaderMap::new();
        headers.append(LINK, "</x>; rel=prev".parse().unwrap());
        headers.append(LINK, "</y>; rel=next".parse().unwrap());
        assert_eq!(next(&headers).as_deref(), Some("/y"));
    }
}
