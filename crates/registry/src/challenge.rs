//! What a registry asks for in `WWW-Authenticate` (RFC 9110, section 11.6.1; distribution's token authentication).

use http_auth::parser::ChallengeParser;

/// One challenge that this client can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password.
    Basic,
    /// A token from `realm`.
    Bearer(Bearer),
}

/// The parameters of a Bearer challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The URL of the token server.
    pub(crate) realm: String,
    /// What the token server knows the registry as.
    pub(crate) service: Option<String>,
    /// What the token must allow.
    pub(crate) scope: Option<String>,
    /// Why the token that was sent is not good enough.
    pub(crate) error: Option<String>,
}

impl Bearer {
    /// Whether the token was good, but not for this.
    pub(crate) fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }
}

/// The known challenges in all `WWW-Authenticate` headers of an answer, in their order.
///
/// Schemes that this client does not know are passed over, and so is the rest of a header from the first byte on that
/// breaks the grammar.
pub(crate) fn parse<'h>(headers: impl Iterator<Item = &'h str>) -> Vec<Challenge> {
    headers
        .flat_map(|header| ChallengeParser::new(header).map_while(Result::ok))
        .filter_map(|challenge| {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                return Some(Challenge::Basic);
            }
            if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            let mut bearer = Bearer::default();
            for (name, value) in challenge.params {
                let value = value.to_unescaped();
                match name.to_ascii_lowercase().as_str() {
                    "realm" => bearer.realm = value,
                    "service" => bearer.service = Some(value),
                    "scope" => bearer.scope = Some(value),
                    "error" => bearer.error = Some(value),
                    _ => {}
                }
            }
            (!bearer.realm.is_empty()).then_some(Challenge::Bearer(bearer))
        })
        .collect()
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

    #[test]
    fn docker_hub() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#;
        let expected =
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:library/alpine:pull"));
        assert_eq!(parse([header].into_iter()), [expected]);
    }

    #[test]
    fn commas_in_quotes_and_spaces_between() {
        let header = r#"bearer Realm = "https://a/t" ,  SCOPE="repository:a:pull,push repository:b:pull", error="insufficient_scope""#;
        let parsed = parse([header].into_iter());
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
    fn escapes_are_undone() {
        assert_eq!(parse([r#"Bearer realm="https://a/\"t\\""#].into_iter()), [bearer(r#"https://a/"t\"#, None, None)]);
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        for header in
            ["", "Bearer", r#"Bearer service="x""#, "Digest realm=\"x\"", "=", "Bearer realm=\"open", "\u{7f}"]
        {
            assert_eq!(parse([header].into_iter()), [], "{header}");
        }
        assert_eq!(parse(["Basic, Bearer realm=(bad)"].into_iter()), [Challenge::Basic]);
    }
}
