//! Challenges in all forms that registries send, and the servers that must not get credentials.

use std::process::Command;

use vmroot_registry::{Credential, Error};
use vmroot_testkit::registry::{Auth, Bearer, Fault, PlainAnswer, Registry, Request, Rule};
use vmroot_testkit::skip;

use crate::fixture::{Fixture, MANIFESTS, NAME, assert_message, client_with, options_with, password};
use crate::tls::trusting_client_with;

/// Bearer challenges. `{realm}` stands for the URL of the token server.
const BEARERS: [&str; 12] = [
    r#"Bearer realm="{realm}",service="registry.test",scope="{scope}""#,
    r#"Bearer realm="{realm}" service="registry.test" scope="{scope}""#,
    r#"Bearer realm="{realm}"service="registry.test""#,
    "Bearer realm={realm},service=registry.test",
    "bearer realm={realm} service=registry.test",
    r#"BEARER Realm = "{realm}" , Service = "registry.test""#,
    r#"Bearer service="registry.test",realm="{realm}""#,
    r#"Negotiate, Bearer realm="{realm}",service="registry.test""#,
    r#"Custom a="b, c", d=e, Bearer realm="{realm}",service="registry.test""#,
    r#"Bearer realm="/token",service="registry.test""#,
    r#"Bearer realm=/token,service=registry.test"#,
    r#"Bearer realm="token" service=registry.test"#,
];

/// Basic challenges.
const BASICS: [&str; 12] = [
    "Basic realm=/",
    "Basic",
    "basic",
    "Basic realm",
    "Basic realm=",
    r#"Basic realm="""#,
    "Basic realm=https://example.test/",
    "Basic realm=My Registry",
    r#"Basic realm="a \"quoted\" one", charset="UTF-8""#,
    r#"Basic realm="x" charset="UTF-8""#,
    r#"Basic realm="never closed"#,
    "Basic realm=größe",
];

fn bearer(challenge: &str) -> Auth {
    Auth::Bearer(Bearer {
        user: Some(("ann".to_owned(), "secret".to_owned())),
        challenges: vec![challenge.to_owned()],
        ..Bearer::default()
    })
}

fn basic(challenges: &[&str]) -> Auth {
    let challenges = challenges.iter().map(|&challenge| challenge.to_owned()).collect();
    Auth::Basic { user: "ann".to_owned(), password: "secret".to_owned(), challenges }
}

#[test]
fn every_form_of_a_challenge_is_answered() {
    for auth in BEARERS.iter().map(|it| bearer(it)).chain(BASICS.iter().map(|it| basic(&[it]))) {
        let fixture = Fixture::new();
        fixture.registry.require(auth.clone());
        let client = client_with(password("ann", "secret"));
        client.manifest(&fixture.reference()).unwrap_or_else(|error| panic!("{auth:?}: {error}"));
        let token = fixture.requests("/token").pop();
        assert_eq!(token.is_some(), matches!(auth, Auth::Bearer(_)), "{auth:?}");
        if let Some(token) = token {
            assert_eq!(token.query("service"), ["registry.test"], "{auth:?}");
            assert_eq!(token.query("scope"), [format!("repository:{NAME}:pull")], "{auth:?}");
        }
    }
}

/// Every challenge that skopeo can answer must be answered here too.
#[test]
fn every_challenge_that_skopeo_answers_is_answered() {
    if skip::needs_program("skopeo") {
        return;
    }
    let mut opened = 0;
    for auth in BEARERS.iter().map(|it| bearer(it)).chain(BASICS.iter().map(|it| basic(&[it]))) {
        let fixture = Fixture::new();
        fixture.registry.require(auth.clone());
        let image = format!("docker://{}/{NAME}:latest", fixture.registry.host());
        let arguments = ["inspect", "--raw", "--tls-verify=false", "--creds=ann:secret", &image];
        let skopeo = Command::new("skopeo").args(arguments).output().unwrap();
        if skopeo.status.success() {
            opened += 1;
            client_with(password("ann", "secret")).manifest(&fixture.reference()).unwrap_or_else(|error| {
                panic!("skopeo meets {auth:?}: {error}");
            });
        }
    }
    assert!(opened >= 10, "skopeo opened {opened} of them");
}

#[test]
fn several_headers_are_several_challenges() {
    for challenges in [
        vec!["Negotiate", "Basic realm=/"],
        vec![r#"Bearer realm="ftp://a.test/token""#, "Basic"],
        vec![r#"Bearer realm="//evil.test/token""#, "Basic"],
        vec![r#"Bearer service="no realm""#, r#"Digest nonce="x", Basic realm="y""#],
    ] {
        let fixture = Fixture::new();
        fixture.registry.require(basic(&challenges));
        client_with(password("ann", "secret")).manifest(&fixture.reference()).unwrap();
    }
}

/// Docker and skopeo request `/v2/` first, so some registries send their challenge only there.
#[test]
fn a_challenge_at_v2_is_used() {
    for status in [401, 403, 404] {
        let fixture = Fixture::new();
        fixture.registry.require(basic(&["Basic realm=x"]));
        let silence = Fault::Status(status, vec![], "not for strangers".to_owned());
        fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(silence));
        client_with(password("ann", "secret")).manifest(&fixture.reference()).unwrap();
    }
    // Without a challenge there, the error is returned, and `/v2/` is not requested again.
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(Fault::Status(404, vec![], "gone".to_owned())));
    let client = client_with(password("ann", "secret"));
    for _ in 0..3 {
        assert_message(client.manifest(&fixture.reference()), &["gone"]);
    }
    // The other request was for detecting plain HTTP.
    let pages = fixture.registry.requests().into_iter().filter(|request| request.path == "/v2/");
    assert_eq!((pages.count(), fixture.registry.count(MANIFESTS)), (2, 3));
}

/// Returns whether a request contains a part of a credential.
fn contains_secret(request: &Request) -> bool {
    let text = format!("{} {:?} {}", request.path, request.headers, String::from_utf8_lossy(&request.body));
    // The first text is the base64 of `ann:secret`.
    ["YW5uOnNlY3JldA", "secret", "account", "refresh_token"].iter().any(|part| text.contains(part))
}

/// The password must not be sent in plain text, so a registry with TLS must not name a token server without TLS.
#[test]
fn a_registry_with_tls_must_not_name_a_token_server_without() {
    for credential in [password("ann", "secret"), Credential::IdentityToken("secret".to_owned())] {
        let fixture = Fixture::of(Registry::start_tls(PlainAnswer::BadRequest), 1000);
        let listener = Registry::start();
        listener.require(bearer(""));
        for realm in [format!("{}/token", listener.url()), format!("HTTP://{}/token", listener.host())] {
            fixture.registry.require(bearer(&format!("Bearer realm=\"{realm}\"")));
            let client = trusting_client_with(options_with(credential.clone()));
            let error =
                assert_message(client.manifest(&fixture.reference()), &["its token server is plain HTTP", "https"]);
            assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
        }
        assert_eq!(listener.connections(), 0);
        assert!(!fixture.registry.requests().iter().any(contains_secret));
    }
}

#[test]
fn a_relative_realm_must_not_name_another_host() {
    let fixture = Fixture::new();
    let listener = Registry::start();
    for realm in ["//{host}/token", r"\\{host}\token", r"/\{host}/token", "/\t/{host}/token", "///{host}/token"] {
        let realm = realm.replace("{host}", &listener.host());
        // Within quotes, a backslash is an escape character, so it is doubled.
        let challenge = format!("Bearer realm=\"{}\"", realm.replace('\\', r"\\"));
        fixture.registry.require(bearer(&challenge));
        let error = assert_message(
            client_with(password("ann", "secret")).manifest(&fixture.reference()),
            &[&fixture.registry.host(), "its token server"],
        );
        assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
    }
    assert_eq!(listener.connections(), 0);
    assert!(!fixture.registry.requests().iter().any(contains_secret));
}

/// If a token server redirects, the password stays with the server that the challenge named.
#[test]
fn the_target_of_a_token_servers_redirect_gets_no_password() {
    let fixture = Fixture::new();
    fixture.registry.require(bearer(r#"Bearer realm="/token""#));
    let elsewhere = Registry::start();
    elsewhere.require(Auth::Bearer(Bearer::default()));
    let location = format!("{}/token", elsewhere.url());
    fixture.registry.misbehave(Rule::on("/token").fault(Fault::Redirect(307, location)));
    let _ = client_with(password("ann", "secret")).manifest(&fixture.reference());
    assert_eq!(elsewhere.count("/token"), 1);
    assert!(!elsewhere.requests().iter().any(contains_secret));
}

/// A document that is missing from a repository which everyone may read is not requested again with credentials.
#[test]
fn a_missing_document_of_an_open_repository_costs_one_request() {
    let fixture = Fixture::new();
    let client = crate::fixture::client();
    let missing = fixture.reference().with_tag("missing").unwrap();
    client.manifest_by_digest(&fixture.reference(), &fixture.manifest).unwrap();
    fixture.registry.clear_requests();
    for _ in 0..2 {
        assert!(matches!(client.manifest(&missing), Err(Error::NotFound { .. })));
    }
    assert_eq!(fixture.registry.requests().len(), 2);
    // Without an answer before, the repository may be hidden from anonymous clients.
    fixture.registry.clear_requests();
    assert!(matches!(crate::fixture::client().manifest(&missing), Err(Error::NotFound { .. })));
    assert!(fixture.registry.count("/v2/") > 1);
}
