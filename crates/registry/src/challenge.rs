//! The parser of `WWW-Authenticate` headers (RFC 9110, section 11.6.1; distribution's token authentication).
//!
//! It accepts more than the grammar allows, because Docker, skopeo and go-containerregistry do, and registries are
//! tested with these. Examples are blanks instead of commas, missing separators, unquoted URLs, and parameters without
//! a value.

use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::{Error, Result};

/// One challenge that this client can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Basic authentication with user and password.
    Basic,
    /// Authentication with a token from a token server.
    Bearer(Bearer),
}

/// The parameters of a Bearer challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The URL of the token server. It may be relative to the registry's.
    pub(crate) realm: String,
    /// The name of the registry at the token server.
    pub(crate) service: Option<String>,
    /// The access that the token must allow.
    pub(crate) scope: Option<String>,
    /// The reason for which the sent token was refused.
    pub(crate) error: Option<String>,
}

impl Bearer {
    /// Returns whether the token was valid, but its scope too narrow.
    pub(crate) fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }

    /// Returns the URL of the token server for the registry at `base`.
    ///
    /// # Errors
    /// [`Error::Challenge`] if credentials must not be sent to it: it is not a URL, its scheme is not HTTP or HTTPS,
    /// it is plain HTTP while the registry uses TLS, or it is relative and leads to another host.
    pub(crate) fn realm_at(&self, base: &Url) -> Result<Url> {
        let refused = |reason: String| {
            Err(Error::Challenge { url: base.to_string(), reason: format!("its token server {reason}") })
        };
        let relative = Url::parse(&self.realm).is_err();
        let realm = match base.join(&self.realm) {
            // `//host/` and `/\host/` are relative, but name another host.
            Ok(url) if relative && url.origin() != base.origin() => {
                return refused(format!("{:?} is relative and names another host", self.realm));
            }
            Ok(url) => url,
            Err(error) => return refused(format!("is not a URL: {error}")),
        };
        match (base.scheme(), realm.scheme()) {
            ("https", "http") => refused(
                "is plain HTTP, which exposes passwords and tokens; configure the registry to name an https URL"
                    .to_owned(),
            ),
            (_, "http" | "https") => Ok(realm),
            (_, scheme) => refused(format!("has the scheme {scheme:?}")),
        }
    }
}

/// Returns the supported challenges in all `WWW-Authenticate` headers of a response, in order.
pub(crate) fn from_headers(headers: &HeaderMap) -> Vec<Challenge> {
    // Realms of Basic challenges are display texts, so they may contain other characters than ASCII.
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    parse(texts.collect::<Vec<_>>().iter().map(AsRef::as_ref))
}

fn parse<'h>(headers: impl Iterator<Item = &'h str>) -> Vec<Challenge> {
    headers
        .flat_map(|header| Parser { rest: header, challenges: Vec::new(), position: Position::Start }.read())
        .collect()
}

/// The position of a word without a value, which determines its meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At the start of the header or after a comma. A scheme starts here.
    Start,
    /// After a comma that follows an unquoted scope. An action of that scope may follow.
    InScope,
    /// After a blank or without a separator. Only a supported scheme starts here. Other words belong to unquoted
    /// values.
    AfterWord,
}

/// A scheme and its parameters. The scheme may be unsupported.
struct ParsedChallenge {
    is_supported: bool,
    is_basic: bool,
    bearer: Bearer,
}

struct Parser<'h> {
    rest: &'h str,
    challenges: Vec<ParsedChallenge>,
    position: Position,
}

impl<'h> Parser<'h> {
    fn read(mut self) -> Vec<Challenge> {
        let mut in_scope = false;
        loop {
            let before = self.rest;
            self.rest = self.rest.trim_start_matches(is_blank);
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                self.position = if in_scope { Position::InScope } else { Position::Start };
                continue;
            }
            if self.rest.len() < before.len() && self.position == Position::InScope {
                self.position = Position::Start;
            }
            let Some(word) = self.word() else { break };
            if let Some(value) = self.rest.trim_start_matches(is_blank).strip_prefix('=') {
                self.rest = value.trim_start_matches(is_blank);
                let quoted = self.rest.starts_with('"');
                let Some(value) = self.value() else { break };
                in_scope = !quoted && word.eq_ignore_ascii_case("scope");
                self.parameter(word, value);
            } else {
                in_scope = self.bare_word(word);
            }
            self.position = Position::AfterWord;
        }
        let supported = self.challenges.into_iter().filter(|parsed| parsed.is_supported);
        let challenge = |parsed: ParsedChallenge| match parsed.is_basic {
            true => Some(Challenge::Basic),
            false => (!parsed.bearer.realm.is_empty()).then_some(Challenge::Bearer(parsed.bearer)),
        };
        supported.filter_map(challenge).collect()
    }

    /// Reads the name of a scheme or a parameter. Returns `None` at the end, or if there is none.
    fn word(&mut self) -> Option<&'h str> {
        // Skips stray quotes and equals signs.
        self.rest = self.rest.trim_start_matches(['=', '"']);
        let end = self.rest.find(|char| is_blank(char) || matches!(char, ',' | '=' | '"')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty() || !rest.is_empty()).then_some(word)
    }

    /// Reads a quoted value, or an unquoted one up to the next blank or comma. Returns `None` if a quote is not closed.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(|char| is_blank(char) || char == ',').unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(value.to_owned());
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                char => value.push(char),
            }
        }
        None
    }

    /// Stores a parameter of the last scheme. The first of several with one name counts, because a later one may belong
    /// to a scheme that was not recognised.
    fn parameter(&mut self, name: &str, value: String) {
        let Some(ParsedChallenge { bearer, .. }) = self.challenges.last_mut() else { return };
        let target = match name.to_ascii_lowercase().as_str() {
            "realm" if bearer.realm.is_empty() => {
                bearer.realm = value;
                return;
            }
            "service" => &mut bearer.service,
            "scope" => &mut bearer.scope,
            "error" => &mut bearer.error,
            _ => return,
        };
        if !value.is_empty() {
            target.get_or_insert(value);
        }
    }

    /// Handles a word without a value. Returns whether it belongs to an unquoted scope.
    fn bare_word(&mut self, word: &str) -> bool {
        if self.position == Position::InScope && matches!(word, "pull" | "push" | "delete" | "*") {
            if let Some(scope) = self.challenges.last_mut().and_then(|parsed| parsed.bearer.scope.as_mut()) {
                scope.push(',');
                scope.push_str(word);
            }
            return true;
        }
        let (basic, bearer) = (word.eq_ignore_ascii_case("basic"), word.eq_ignore_ascii_case("bearer"));
        // An unsupported scheme is recorded only if parameters can follow, so that these are not assigned to another
        // scheme.
        let begins = self.position != Position::AfterWord && self.rest.starts_with(is_blank) && !word.is_empty();
        if basic || bearer || begins {
            self.challenges.push(ParsedChallenge {
                is_supported: basic || bearer,
                is_basic: basic,
                bearer: Bearer::default(),
            });
        }
        false
    }
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
            error: None,
        })
    }

    fn of(header: &str) -> Vec<Challenge> {
        parse([header].into_iter())
    }

    #[test]
    fn docker_hub() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#;
        let expected =
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:library/alpine:pull"));
        assert_eq!(of(header), [expected]);
    }

    #[test]
    fn commas_in_quotes_and_spaces_around_commas() {
        let header = r#"bearer Realm = "https://a/t" ,  SCOPE="repository:a:pull,push repository:b:pull", error="insufficient_scope""#;
        let parsed = of(header);
        let [Challenge::Bearer(bearer)] = &parsed[..] else { panic!("{parsed:?}") };
        assert_eq!(bearer.scope.as_deref(), Some("repository:a:pull,push repository:b:pull"));
        assert!(bearer.is_insufficient_scope());
    }

    #[test]
    fn several_headers_and_several_in_one() {
        let headers = [r#"Negotiate, Basic realm="x, y", Bearer realm="https://a/t""#, "BASIC"];
        let expected = [Challenge::Basic, bearer("https://a/t", None, None), Challenge::Basic];
        assert_eq!(parse(headers.into_iter()), expected);
    }

    #[test]
    fn escapes_in_quotes_are_decoded() {
        assert_eq!(of(r#"Bearer realm="https://a/\"t\\""#), [bearer(r#"https://a/"t\"#, None, None)]);
    }

    /// Forms that registries send, and malformed ones. `tests/it/challenges.rs` compares with skopeo.
    #[test]
    fn basic_needs_no_valid_parameters() {
        for header in [
            "Basic",
            "basic",
            " BASIC ",
            "Basic realm",
            "Basic realm=",
            r#"Basic realm="""#,
            "Basic realm=/",
            "Basic realm=My Registry",
            r#"Basic realm="a \"quoted\" one""#,
            "Basic realm=https://a.test/",
            r#"Basic realm="x" charset="UTF-8""#,
            r#"Basic realm="x";charset=UTF-8"#,
            r#"Basic realm="open"#,
            "\tBasic\trealm=x",
            "Basic,",
            ",Basic",
            r#"Basic realm="größe""#,
            "Negotiate YIIQ+/abc==, Basic realm=x",
            "NTLM TlRMTVNTUAAC, Basic realm=x",
            "Negotiate Basic realm=x",
            r#"Digest realm="d, Bearer realm=no", nonce=n, qop="auth,auth-int", Basic realm=x"#,
            r#"Basic realm=x, Digest realm=https://evil.test/t"#,
        ] {
            assert_eq!(of(header), [Challenge::Basic], "{header}");
        }
    }

    #[test]
    fn bearer_parameters_have_many_separators() {
        let expected = [bearer("https://a/t", Some("s"), Some("repository:a:pull,push"))];
        for header in [
            r#"Bearer realm="https://a/t" service="s" scope="repository:a:pull,push""#,
            r#"Bearer realm="https://a/t"service="s"scope="repository:a:pull,push""#,
            r#"Bearer realm=https://a/t,service=s,scope="repository:a:pull,push""#,
            "Bearer realm=https://a/t,scope=repository:a:pull,push,service=s",
            "Bearer realm=https://a/t, service=s, scope=repository:a:pull,push",
            "Bearer realm=https://a/t service=s scope=repository:a:pull,push",
            r#"bearer  REALM = https://a/t , Service = s ,, scope = "repository:a:pull,push" ,"#,
            r#"Bearer realm="https://a/t",, service="s", scope="repository:a:pull,push", x=y, z"#,
            r#"Bearer service=s,realm="https://a/t",scope="repository:a:pull,push",realm="https://evil.test/t""#,
            r#"Bearer service=s realm=https://a/t scope="repository:a:pull,push" Digest realm="https://evil.test""#,
            r#"Negotiate, Bearer,realm="https://a/t",service="s",scope="repository:a:pull,push""#,
            r#"Custom realm="no", x=y, Bearer realm="https://a/t",service="s",scope="repository:a:pull,push""#,
            "Bearer realm=\"https://a/t\"\r\n service=\"s\"\r\n\tscope=\"repository:a:pull,push\"",
        ] {
            assert_eq!(of(header), expected, "{header}");
        }
        assert_eq!(of("Bearer realm=https://a/t?x=y&z=,service=s"), [bearer("https://a/t?x=y&z=", Some("s"), None)]);
        assert_eq!(
            of("Bearer realm=https://a/t,service=My Registry,scope=repository:a:pull"),
            [bearer("https://a/t", Some("My"), Some("repository:a:pull"))]
        );
        let both = [bearer("https://a/t", Some("s"), None), Challenge::Basic];
        for header in
            ["Bearer realm=https://a/t,service=s,Basic realm=x", "Bearer realm=https://a/t service=s Basic realm=x"]
        {
            assert_eq!(of(header), both, "{header}");
        }
    }

    #[test]
    fn malformed_challenges_are_ignored() {
        for header in [
            "",
            "Bearer",
            r#"Bearer service="x""#,
            "Digest realm=\"x\"",
            "=",
            "\"",
            "\"\"",
            "==\"=,\"",
            "Bearer realm=\"open",
            r#"Bearer realm="open\"#,
            "\u{7f}",
            "Bearer realm=,service=x",
            "realm=https://a/t",
            "Bearerrealm=https://a/t",
        ] {
            assert_eq!(of(header), [], "{header}");
        }
        assert_eq!(of("Basic, Bearer realm=\"bad"), [Challenge::Basic]);
    }

    #[test]
    fn parsing_always_terminates() {
        // Every string of up to six of these parts, which are all that the parser distinguishes.
        let parts = ["Basic", " ", ",", "=", "\"", "\\", "ä"];
        for number in 0..parts.len().pow(6) {
            let digits = (0..6).scan(number, |rest, _| {
                let digit = *rest % parts.len();
                *rest /= parts.len();
                Some(parts[digit])
            });
            of(&digits.collect::<String>());
        }
    }

    #[test]
    fn realms_that_must_not_get_credentials_are_refused() {
        let at = |realm: &str, base: &str| {
            let bearer = Bearer { realm: realm.to_owned(), ..Bearer::default() };
            bearer.realm_at(&Url::parse(base).unwrap()).map(String::from).map_err(|error| error.to_string())
        };
        let secure = "https://r.test:5000/";
        for (realm, expected) in [
            ("/token", "https://r.test:5000/token"),
            ("token", "https://r.test:5000/token"),
            ("?x=y", "https://r.test:5000/?x=y"),
            ("../../token", "https://r.test:5000/token"),
            ("//r.test:5000/token", "https://r.test:5000/token"),
            ("https://auth.test/token", "https://auth.test/token"),
            ("HTTPS://auth.test", "https://auth.test/"),
        ] {
            assert_eq!(at(realm, secure).unwrap(), expected, "{realm}");
        }
        assert_eq!(at("/token", "http://r.test/").unwrap(), "http://r.test/token");
        assert_eq!(at("http://auth.test/t", "http://r.test/").unwrap(), "http://auth.test/t");
        for realm in [
            "http://auth.test/t",
            "HTTP://auth.test/t",
            " http://auth.test/t",
            "http:auth.test",
            "http://r.test:5000/token",
            "//evil.test/t",
            r"\\evil.test\t",
            r"/\evil.test/t",
            "/\t/evil.test/t",
            "///evil.test/t",
            "//r.test/token",
            "ftp://a.test/t",
            "file:///t",
            "localhost:5000/t",
            "https://",
        ] {
            let message = at(realm, secure).unwrap_err();
            assert!(message.contains("r.test:5000") && message.contains("its token server"), "{realm}: {message}");
        }
    }
}
