//! Requests for tokens, and their use.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vmroot_model::Reference;
use vmroot_registry::{Cancel, Client, ClientOptions, Credential, Credentials, Error, Result};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::{Auth, Bearer, Fault, Registry, Rule};
use vmroot_testkit::skip;

use crate::fixture::{
    BLOBS, FOREVER, Fixture, MANIFEST, MANIFESTS, NAME, assert_message, client, client_with, client_with_short_timeout,
    options, password, range_from,
};

const TOKENS: &str = "/token";

fn bearer(bearer: Bearer) -> Fixture {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(bearer));
    fixture
}

fn basic(challenges: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    let challenges = challenges.iter().map(|&challenge| challenge.to_owned()).collect();
    fixture.registry.require(Auth::Basic { user: "ann".to_owned(), password: "secret".to_owned(), challenges });
    fixture
}

#[test]
fn an_anonymous_token_is_requested_once() {
    for field in ["token", "access_token"] {
        let fixture = bearer(Bearer { field, ..Bearer::default() });
        let client = client();
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
        assert_eq!(fixture.registry.count(TOKENS), 1);
        let request = &fixture.requests(TOKENS)[0];
        assert_eq!(
            (request.query("service"), request.query("scope")),
            (vec!["registry.test".to_owned()], vec![format!("repository:{NAME}:pull")],)
        );
        assert_eq!((request.header("authorization"), request.query("account")), (None, vec![]));
    }
}

/// If a JSON member occurs twice, the last one counts, as in Go's `encoding/json`. skopeo, which uses it, is the
/// reference here. A member of a wrong type is refused.
#[test]
fn the_last_of_two_tokens_counts() {
    let has_skopeo = !skip::needs_program("skopeo");
    let fixture = bearer(Bearer::default());
    let client = client();
    let answer =
        |body: &str| Fault::Status(200, vec![("Content-Type", "application/json".to_owned())], body.to_owned());
    for body in [
        r#"{"token":"first","token":"second"}"#,
        r#"{"access_token":"x","token":"first","expires_in":1,"expires_in":300,"token":"second"}"#,
        r#"{"access_token":"first","access_token":"second"}"#,
        r#"{"token":"first","token":"","access_token":"second"}"#,
    ] {
        fixture.registry.misbehave(Rule::on(TOKENS).fault(answer(body)));
        let assert_sent = |by: &str| {
            let requests = fixture.registry.requests();
            let sent = requests.iter().filter_map(|request| request.header("authorization")).next_back();
            assert_eq!(sent, Some("Bearer second"), "{body}, {by}");
            fixture.registry.clear_requests();
        };
        fixture.registry.clear_requests();
        // The test registry did not issue this token and refuses it.
        assert_message(client.manifest(&fixture.reference()), &["401"]);
        assert_sent("ours");
        if has_skopeo {
            let image = format!("docker://{}", fixture.reference());
            let output = Command::new("skopeo").args(["inspect", "--tls-verify=false", "--no-creds", &image]).output();
            assert!(!output.unwrap().status.success());
            assert_sent("skopeo");
        }
        fixture.registry.behave();
    }
    fixture.registry.misbehave(Rule::on(TOKENS).fault(answer(r#"{"token":"s3cret","token":5}"#)));
    let error = assert_message(client.manifest(&fixture.reference()), &["not the JSON of a token"]);
    assert!(!error.full_message().contains("s3cret"), "{error}");
}

#[test]
fn passwords_are_sent_to_the_token_server_only() {
    let fixture = bearer(Bearer { user: Some(("ann".to_owned(), "secret".to_owned())), ..Bearer::default() });
    client_with(password("ann", "secret")).manifest(&fixture.reference()).unwrap();
    let request = &fixture.requests(TOKENS)[0];
    assert_eq!(request.header("authorization"), Some("Basic YW5uOnNlY3JldA=="));
    assert_eq!(request.query("account"), ["ann"]);
    assert!(
        fixture
            .requests("/v2/")
            .iter()
            .all(|request| { request.header("authorization").is_none_or(|value| value.starts_with("Bearer token-")) })
    );

    let error =
        assert_message(client_with(password("ann", "wrong")).manifest(&fixture.reference()), &["/token", "401"]);
    assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
}

#[test]
fn an_identity_token_is_posted() {
    let fixture = bearer(Bearer { identity_token: Some("id=&token".to_owned()), ..Bearer::default() });
    let client = client_with(Credential::IdentityToken("id=&token".to_owned()));
    client.manifest(&fixture.reference()).unwrap();
    let request = &fixture.requests(TOKENS)[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/token"));
    for (field, value) in [
        ("grant_type", "refresh_token"),
        ("refresh_token", "id=&token"),
        ("client_id", "vmroot"),
        ("service", "registry.test"),
        ("scope", "repository:some/name:pull"),
    ] {
        assert_eq!(request.form(field), [value], "{field}");
    }
}

#[test]
fn an_identity_token_is_not_posted_to_a_redirects_target() {
    let fixture = bearer(Bearer { identity_token: Some("id".to_owned()), ..Bearer::default() });
    let elsewhere = Registry::start();
    fixture.registry.misbehave(Rule::on(TOKENS).fault(Fault::RedirectTo(elsewhere.url())));
    let client = client_with(Credential::IdentityToken("id".to_owned()));
    assert_message(client.manifest(&fixture.reference()), &["/token", "307"]);
    assert_eq!(elsewhere.count(""), 0);
}

#[test]
fn a_registry_token_is_sent_unchanged() {
    let fixture = bearer(Bearer::default());
    let client = client_with(Credential::RegistryToken("mine".to_owned()));
    assert_message(client.manifest(&fixture.reference()), &["401"]);
    assert_eq!(fixture.requests(MANIFESTS).len(), 2, "it is not sent again after it was refused");
    assert_eq!(fixture.requests(MANIFESTS)[1].header("authorization"), Some("Bearer mine"));
    assert_eq!(fixture.registry.count(TOKENS), 0);
}

#[test]
fn basic_credentials_are_sent_after_a_challenge() {
    let fixture = basic(&[r#"Basic realm="a, b""#]);
    let client = client_with(password("ann", "secret"));
    client.manifest(&fixture.reference()).unwrap();
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    let sent: Vec<bool> =
        fixture.requests("some/name").iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true], "one challenge is enough");
}

#[test]
fn wrong_passwords_are_sent_once_for_each_request() {
    let fixture = basic(&["Basic realm=x"]);
    let client = client_with(password("ann", "wrong"));
    for requests in [2, 3] {
        let error = assert_message(client.manifest(&fixture.reference()), &["/manifests/latest", "UNAUTHORIZED"]);
        assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
        assert_eq!(fixture.registry.count(MANIFESTS), requests);
    }
    let sent: Vec<bool> =
        fixture.requests(MANIFESTS).iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true], "repeated wrong passwords can lock an account");
}

#[test]
fn the_first_usable_challenge_is_answered() {
    for challenges in [
        vec!["Negotiate", r#"Bearer service="no realm""#, r#"Basic realm="x""#],
        vec![r#"Digest realm="a, Basic b", nonce="c", BASIC realm=x"#],
    ] {
        let fixture = basic(&challenges);
        client_with(password("ann", "secret")).manifest(&fixture.reference()).unwrap();
    }
    // Basic needs a password, but the token server issues tokens to everyone.
    let challenge = r#"Basic realm="x", Bearer realm="{realm}",service="a,b",scope="{scope}""#.to_owned();
    let fixture = bearer(Bearer { challenges: vec!["Negotiate".to_owned(), challenge], ..Bearer::default() });
    client().manifest(&fixture.reference()).unwrap();
    assert_eq!(fixture.requests(TOKENS)[0].query("service"), ["a,b"]);
}

#[test]
fn an_unsupported_challenge_is_an_error() {
    for challenge in ["Negotiate", "Bearer", r#"Bearer realm="x"#, ""] {
        let fixture = basic(&[challenge]);
        let error = assert_message(client_with(password("ann", "secret")).manifest(&fixture.reference()), &["401"]);
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert_eq!(fixture.registry.count(MANIFESTS), 1);
    }
    for realm in ["https://", "ftp://a/token", "file:///token", "//evil.test/token"] {
        let fixture = bearer(Bearer { realm: Some(realm.to_owned()), ..Bearer::default() });
        let error =
            assert_message(client().manifest(&fixture.reference()), &[&fixture.registry.host(), "its token server"]);
        assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
    }
}

#[test]
fn an_expired_token_is_replaced_during_a_pull() {
    // Each token is valid for one request only, despite its stated lifetime. Each connection transfers a fifth of the
    // blob.
    let fixture = bearer(Bearer { uses: Some(1), expires_in: Some(3600), ..Bearer::default() });
    let fixture = fixture.blobs(usize::MAX, Fault::CutAfter(20_000));
    let client = client();
    client.manifest(&fixture.reference()).unwrap();
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    assert_eq!(fixture.registry.count(TOKENS), 6);
    let refused_and_served: Vec<_> = [0, 20_000, 40_000, 60_000, 80_000]
        .into_iter()
        .flat_map(|offset| [offset; 2])
        .map(|offset| if offset == 0 { None } else { range_from(offset) })
        .collect();
    assert_eq!(fixture.ranges(), refused_and_served);
}

#[test]
fn revoked_tokens_are_replaced() {
    let fixture = bearer(Bearer::default());
    let client = client();
    client.manifest(&fixture.reference()).unwrap();
    fixture.registry.revoke_tokens();
    client.manifest(&fixture.reference()).unwrap();
    assert_eq!(fixture.registry.count(TOKENS), 2);
    assert_eq!(fixture.registry.count(MANIFESTS), 4);
}

#[test]
fn tokens_that_are_always_refused_are_an_error() {
    let fixture = bearer(Bearer { uses: Some(0), ..Bearer::default() });
    let error = assert_message(client().manifest(&fixture.reference()), &["/manifests/latest", "401"]);
    assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
    assert_eq!((fixture.registry.count(MANIFESTS), fixture.registry.count(TOKENS)), (2, 1));
}

#[test]
fn a_wider_scope_is_requested_if_the_registry_requires_it() {
    let wider = "repository:some/name:pull,push";
    let fixture = bearer(Bearer { insufficient: Some(wider.to_owned()), ..Bearer::default() });
    let client = client();
    client.manifest(&fixture.reference()).unwrap();
    assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
    let scopes: Vec<_> = fixture.requests(TOKENS).iter().map(|request| request.query("scope").join(" ")).collect();
    assert_eq!(scopes, ["repository:some/name:pull", wider], "the wider one is remembered");
    assert_eq!((fixture.registry.count(MANIFESTS), fixture.registry.count(BLOBS)), (3, 1));
}

#[test]
fn several_scopes_are_several_parameters() {
    let challenge =
        r#"Bearer realm="{realm}",scope="repository:some/name:pull,push repository:b:pull",error="insufficient_scope""#;
    let fixture = bearer(Bearer {
        challenges: vec![challenge.to_owned()],
        insufficient: Some("repository:b:pull".to_owned()),
        ..Bearer::default()
    });
    client().manifest(&fixture.reference()).unwrap();
    let last = fixture.requests(TOKENS).pop().unwrap();
    assert_eq!(last.query("scope"), ["repository:some/name:pull,push", "repository:b:pull"]);
}

#[test]
fn the_scope_of_a_challenge_without_an_error_is_requested() {
    let challenge = r#"Bearer realm="{realm}",scope="registry:special:*""#;
    let fixture = bearer(Bearer { challenges: vec![challenge.to_owned()], ..Bearer::default() });
    let refusal = challenge.replace("{realm}", &format!("{}/token", fixture.registry.url()));
    let refusal = Fault::Status(401, vec![("WWW-Authenticate", refusal)], String::new());
    fixture.registry.misbehave(Rule::on(MANIFESTS).skip(1).times(1).fault(refusal));
    client().manifest(&fixture.reference()).unwrap();
    let scopes: Vec<_> = fixture.requests(TOKENS).iter().map(|request| request.query("scope").join(" ")).collect();
    assert_eq!(scopes, ["repository:some/name:pull", "registry:special:*"]);
}

#[test]
fn scopes_that_never_suffice_are_an_error() {
    let fixture = bearer(Bearer::default());
    // Each refusal requires another scope, and none suffices.
    for number in 0..20 {
        let challenge = format!(
            r#"Bearer realm="{}/token",scope="repository:some/name:{number}",error="insufficient_scope""#,
            fixture.registry.url()
        );
        let refusal = Fault::Status(401, vec![("WWW-Authenticate", challenge)], String::new());
        fixture.registry.misbehave(Rule::on(MANIFESTS).skip(number).times(1).fault(refusal));
    }
    let error = assert_message(client().manifest(&fixture.reference()), &["/manifests/latest", "401"]);
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(fixture.registry.count(MANIFESTS), 4);
}

#[test]
fn requests_to_a_busy_token_server_are_retried() {
    for fault in [
        Fault::Status(429, vec![], String::new()),
        Fault::Status(503, vec![], String::new()),
        Fault::Close,
        Fault::CutAfter(5),
        Fault::StallAfter(3, FOREVER),
    ] {
        let fixture = bearer(Bearer::default());
        fixture.registry.misbehave(Rule::on(TOKENS).times(2).fault(fault.clone()));
        assert_eq!(client_with_short_timeout().manifest(&fixture.reference()).unwrap().bytes, MANIFEST, "{fault:?}");
        assert_eq!((fixture.registry.count(TOKENS), fixture.registry.count(MANIFESTS)), (3, 2), "{fault:?}");
    }
    let fixture = bearer(Bearer::default());
    fixture.registry.misbehave(Rule::on(TOKENS).fault(Fault::Status(429, vec![], String::new())));
    let error = assert_message(client().manifest(&fixture.reference()), &["/token"]);
    assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    assert_eq!(fixture.registry.count(TOKENS), 4, "retries of the two layers must not multiply");
}

/// The image exists, perhaps.
#[test]
fn a_missing_token_server_is_not_a_missing_image() {
    for status in [404, 410] {
        let fixture = bearer(Bearer::default());
        fixture.registry.misbehave(Rule::on(TOKENS).fault(Fault::Status(status, vec![], "no such page".to_owned())));
        let error = assert_message(client().manifest(&fixture.reference()), &["/token", "no such page"]);
        assert_ne!(error.kind(), vmroot_errors::ErrorKind::NotFound, "{error:?}");
    }
}

#[test]
fn errors_do_not_quote_responses_without_a_token() {
    for body in [r#"{"token":17,"hint":"secret"}"#, r#"{"token":""}"#, "{}", "secret", "", "[]", "null"] {
        let fixture = bearer(Bearer::default());
        fixture.registry.misbehave(Rule::on(TOKENS).fault(Fault::Status(200, vec![], body.to_owned())));
        let error = assert_message(client().manifest(&fixture.reference()), &["no token from", "/token: its answer"]);
        assert!(matches!(error, Error::Token { .. }) && !error.full_message().contains("secret"), "{error:?}");
        assert_eq!(fixture.registry.count(TOKENS), 1);
    }
}

#[test]
fn errors_do_not_quote_a_token_that_is_no_header() {
    let fixture = bearer(Bearer::default());
    let body = "{\"token\":\"secret\\r\\nX: y\"}".to_owned();
    fixture.registry.misbehave(Rule::on(TOKENS).fault(Fault::Status(200, vec![], body)));
    let error = client().manifest(&fixture.reference()).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
}

#[test]
fn a_huge_response_is_not_read() {
    for chunked in [false, true] {
        let fixture = bearer(Bearer::default());
        let huge = format!(r#"{{"token":"{}"}}"#, "x".repeat(1 << 20));
        let mut rule = Rule::on(TOKENS).fault(Fault::Status(200, vec![], huge));
        if chunked {
            rule = rule.fault(Fault::Chunked);
        }
        fixture.registry.misbehave(rule);
        let error = assert_message(client().manifest(&fixture.reference()), &["/token is longer than 1048576 bytes"]);
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    }
}

#[test]
fn parallel_requests_share_one_token() {
    let fixture = bearer(Bearer::default());
    fixture.registry.misbehave(Rule::on(TOKENS).fault(Fault::Delay(Duration::from_millis(100))));
    let client = client();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes));
        }
    });
    assert_eq!(fixture.registry.count(TOKENS), 1);
}

#[test]
fn each_repository_has_its_own_token() {
    let fixture = bearer(Bearer::default());
    fixture.registry.put_manifest("other/name", Some("latest"), crate::fixture::MANIFEST_TYPE, MANIFEST);
    let client = client();
    let other = Reference::parse(&format!("{}/other/name", fixture.registry.host())).unwrap();
    client.manifest(&fixture.reference()).unwrap();
    client.manifest(&other).unwrap();
    let scopes: Vec<_> = fixture.requests(TOKENS).iter().map(|request| request.query("scope").join(" ")).collect();
    assert_eq!(scopes, ["repository:some/name:pull", "repository:other/name:pull"]);
}

#[test]
fn credentials_are_searched_once_and_only_when_needed() {
    #[derive(Default)]
    struct Counted(std::sync::atomic::AtomicUsize);
    impl Credentials for Counted {
        fn get(&self, domain: &str, repository: &str, _: &Cancel) -> Result<Option<Credential>> {
            assert!(domain.starts_with("127.0.0.1:") && repository == NAME);
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(None)
        }
    }
    for (auth, expected) in [(false, 0), (true, 1)] {
        let counted = Arc::new(Counted::default());
        let client = Client::new(ClientOptions { credentials: counted.clone(), ..options() }).unwrap();
        let fixture = Fixture::new();
        if auth {
            fixture.registry.require(Auth::Bearer(Bearer { uses: Some(1), ..Bearer::default() }));
        }
        for _ in 0..3 {
            client.manifest(&fixture.reference()).unwrap();
        }
        assert_eq!(counted.0.load(std::sync::atomic::Ordering::SeqCst), expected);
    }
}
