//! Challenges in the forms that registries send, and the servers that credentials go to because of them.

use std::process::Command;

use vmroot_registry::{Credential, Error};
use vmroot_testkit::registry::{Auth, Bearer, Fault, PlainAnswer, Registry, Request, Rule};
use vmroot_testkit::skip;

use crate::fixture::{Fixture, MANIFESTS, NAME, client_with, options_with, password, says};
use crate::tls::trusting_with;

/// In each, `{realm}` stands for the URL of the token server.
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
fn every_form_of_a_challenge_is_met() {
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

/// A challenge that skopeo meets must be met here too.
#[test]
fn skopeo_gets_in_nowhere_where_we_do_not() {
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

/// Docker and skopeo ask `/v2/` first, so a registry may give its challenge there alone.
#[test]
fn a_challenge_on_the_registrys_own_page_will_do() {
    for status in [401, 403, 404] {
        let fixture = Fixture::new();
        fixture.registry.require(basic(&["Basic realm=x"]));
        let silence = Fault::Status(status, vec![], "not for strangers".to_owned());
        fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(silence));
        client_with(password("ann", "secret")).manifest(&fixture.reference()).unwrap();
    }
    // Without one there, the answer stands, and the page is not asked for again.
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(Fault::Status(404, vec![], "gone".to_owned())));
    let client = client_with(password("ann", "secret"));
    for _ in 0..3 {
        says(client.manifest(&fixture.reference()), &["gone"]);
    }
    // One more is for finding out that it speaks plain HTTP.
    let pages = fixture.registry.requests().into_iter().filter(|request| request.path == "/v2/");
    assert_eq!((pages.count(), fixture.registry.count(MANIFESTS)), (2, 3));
}

/// Whether a request has any part of a credential in it.
fn gives_away(request: &Request) -> bool {
    let text = format!("{} {:?} {}", request.path, request.headers, String::from_utf8_lossy(&request.body));
    // The base64 of `ann:secret` stands for the password as well.
    ["YW5uOnNlY3JldA", "secret", "account", "refresh_token"].iter().any(|part| text.contains(part))
}

/// A registry with TLS that names a token server without: the password would go over the wire for all to read.
#[test]
fn a_registry_with_tls_may_not_name_a_token_server_without() {
    for credential in [password("ann", "secret"), Credential::IdentityToken("secret".to_owned())] {
        let fixture = Fixture::of(Registry::start_tls(PlainAnswer::BadRequest), 1000);
        let listener = Registry::start();
        listener.require(bearer(""));
        for realm in [format!("{}/token", listener.url()), format!("HTTP://{}/token", listener.host())] {
            fixture.registry.require(bearer(&format!("Bearer realm=\"{realm}\"")));
            let client = trusting_with(options_with(credential.clone()));
            let error = says(client.manifest(&fixture.reference()), &["its token server is plain HTTP", "https"]);
            assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
        }
        assert_eq!(listener.connections(), 0);
        assert!(!fixture.registry.requests().iter().any(gives_away));
    }
}

#[test]
fn a_relative_realm_does_not_lead_away() {
    let fixture = Fixture::new();
    let listener = Registry::start();
    for realm in ["//{host}/token", r"\\{host}\token", r"/\{host}/token", "/\t/{host}/token", "///{host}/token"] {
        let realm = realm.replace("{host}", &listener.host());
        // A backslash in quotes is an escape, so that two are one.
        let challenge = format!("Bearer realm=\"{}\"", realm.replace('\\', r"\\"));
        fixture.registry.require(bearer(&challenge));
        let error = says(
            client_with(password("ann", "secret")).manifest(&fixture.reference()),
            &[&fixture.registry.host(), "its token server"],
        );
        assert!(matches!(error, Error::Challenge { .. }), "{error:?}");
    }
    assert_eq!(listener.connections(), 0);
    assert!(!fixture.registry.requests().iter().any(gives_away));
}

/// A token server that sends us on: the password stays with the one that was named.
#[test]
fn a_token_server_that_redirects_keeps_the_password_to_itself() {
    let fixture = Fixture::new();
    fixture.registry.require(bearer(r#"Bearer realm="/token""#));
    let elsewhere = Registry::start();
    elsewhere.require(Auth::Bearer(Bearer::default()));
    let location = format!("{}/token", elsewhere.url());
    fixture.registry.misbehave(Rule::on("/token").fault(Fault::Redirect(307, location)));
    let _ = client_with(password("ann", "secret")).manifest(&fixture.reference());
    assert_eq!(elsewhere.count("/token"), 1);
    assert!(!elsewhere.requests().iter().any(gives_away));
}
