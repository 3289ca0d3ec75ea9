//! The scopes and credentials of writing, listing and deleting, and the servers that get them.

use vmroot_model::{Digest, MediaType, Reference};
use vmroot_registry::{Client, Error};
use vmroot_testkit::registry::{Auth, Bearer, Fault, Features, Registry, Request, Rule};

use crate::fixture::{
    MANIFEST, MANIFEST_TYPE, MANIFESTS, NAME, assert_message, client, client_with, password, pattern,
};
use crate::uploaded::Blob;

const UPLOADS: &str = "/blobs/uploads/";

const TOKENS: &str = "/token";

fn at(registry: &Registry, name: &str) -> Reference {
    Reference::parse(&format!("{}/{name}", registry.host())).unwrap()
}

/// A registry that checks scopes, for the user `ann`.
fn strict() -> (Registry, Client) {
    let registry = Registry::start();
    registry.require(Auth::Bearer(strict_bearer()));
    (registry, client_with(password("ann", "secret")))
}

fn strict_bearer() -> Bearer {
    Bearer { user: Some(("ann".to_owned(), "secret".to_owned())), checks_scopes: true, ..Bearer::default() }
}

/// Returns the scopes of the tokens so far, each sorted.
fn scopes(registry: &Registry) -> Vec<String> {
    registry.grants().iter().map(|grant| grant.scopes.join(" ")).collect()
}

/// Asserts that no request to this server has a credential.
#[track_caller]
fn assert_no_credentials(registry: &Registry) {
    for Request { method, path, headers, body, .. } in registry.requests() {
        let text = format!("{headers:?} {path} {}", String::from_utf8_lossy(&body)).to_ascii_lowercase();
        for secret in ["authorization", "token-", "basic ", "secret", "cookie"] {
            assert!(!text.contains(secret), "{method} {path}: {headers:?}");
        }
    }
    assert!(registry.count("") > 0, "the server received requests");
}

#[test]
fn each_access_has_its_own_scope() {
    let (registry, client) = strict();
    let reference = at(&registry, NAME);
    let bytes = pattern(2_000_000);
    assert_eq!(client.has_blob(&reference, &Digest::of(&bytes)).unwrap(), None);
    client.upload_blob(&reference, &mut Blob::unknown(&bytes)).unwrap();
    client.upload_blob(&reference, &mut Blob::known(b"short")).unwrap();
    let pushed = client.put_manifest(&reference, "v1", MANIFEST, &MediaType::OCI_MANIFEST).unwrap();
    assert_eq!(client.tags(&reference).unwrap().tags, ["v1"]);
    assert_eq!(client.referrers(&reference, &pushed.digest, None).unwrap(), []);
    assert!(client.mount_blob(&at(&registry, "to/here"), &Digest::of(b"short"), &reference).unwrap());
    assert_eq!(client.repositories(&registry.host()).unwrap(), [NAME, "to/here"]);
    client.delete_manifest(&reference, &pushed.digest).unwrap();
    client.check_login(&registry.host()).unwrap();
    let expected = [
        format!("repository:{NAME}:pull"),
        format!("repository:{NAME}:pull,push"),
        format!("repository:{NAME}:pull repository:to/here:pull,push"),
        "registry:catalog:*".to_owned(),
        format!("repository:{NAME}:*"),
        String::new(),
    ];
    assert_eq!(scopes(&registry), expected, "tokens are shared by the requests with one scope");
}

#[test]
fn a_registry_may_require_the_scope_delete() {
    let (registry, client) = strict();
    // The token server does not know the action `*`.
    registry.require(Auth::Bearer(Bearer { denied: vec!["*"], ..strict_bearer() }));
    let digest = registry.put_manifest(NAME, None, MANIFEST_TYPE, MANIFEST);
    client.delete_manifest(&at(&registry, NAME), &digest).unwrap();
    assert_eq!(scopes(&registry), [format!("repository:{NAME}:"), format!("repository:{NAME}:delete")]);
}

#[test]
fn access_that_is_denied() {
    let (registry, client) = strict();
    registry.require(Auth::Bearer(Bearer { denied: vec!["push", "*", "delete"], ..strict_bearer() }));
    let digest = registry.put_manifest(NAME, Some("v1"), MANIFEST_TYPE, MANIFEST);
    let reference = at(&registry, NAME);
    for failed in [
        client.upload_blob(&reference, &mut Blob::known(b"short")),
        client.upload_blob(&reference, &mut Blob::unknown(b"short")),
        client.put_manifest(&reference, "v1", MANIFEST, &MediaType::OCI_MANIFEST).map(drop),
        client.delete_manifest(&reference, &digest),
        client.repositories(&registry.host()).map(drop),
    ] {
        let error = failed.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
        assert!(!error.may_restart_upload() && !error.is_manifest_refused());
    }
    assert!(!client.mount_blob(&reference, &digest, &at(&registry, "from/here")).unwrap());
    assert_eq!(client.manifest(&reference.with_tag("v1").unwrap()).unwrap().bytes, MANIFEST, "pulling is allowed");
}

#[test]
fn logins_are_checked() {
    let (registry, good) = strict();
    good.check_login(&registry.host()).unwrap();
    for client in [client(), client_with(password("ann", "wrong"))] {
        let error = client.check_login(&registry.host()).unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    }
    let registry = Registry::start();
    registry.require(Auth::basic("ann", "secret"));
    good.check_login(&registry.host()).unwrap();
    let error = assert_message(client_with(password("ann", "wrong")).check_login(&registry.host()), &["/v2/", "401"]);
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    client().check_login(&Registry::start().host()).unwrap();
    let registry = Registry::start();
    registry.misbehave(Rule::on("/v2/").fault(Fault::Status(404, vec![], String::new())));
    assert!(matches!(client().check_login(&registry.host()), Err(Error::NotFound { .. })));
}

#[test]
fn a_token_that_expires_during_an_upload_is_replaced() {
    let bytes = pattern(5_000_000);
    for method in ["PATCH", "GET", "PUT", "DELETE"] {
        for blob in [Blob::known, Blob::unknown] {
            let (registry, client) = strict();
            registry.misbehave(Rule::on(UPLOADS).method(method).times(1).fault(Fault::RevokeTokens));
            if method == "GET" {
                registry.misbehave(Rule::on(UPLOADS).method("PATCH").times(1).fault(Fault::CutRequest(1_000_000)));
            }
            let mut blob = blob(&bytes);
            if method == "DELETE" {
                blob.fails_at = 2_000_000;
                client.upload_blob(&at(&registry, NAME), &mut blob).unwrap_err();
            } else {
                client.upload_blob(&at(&registry, NAME), &mut blob).unwrap();
                assert!(registry.blob(NAME, &Digest::of(&bytes)).is_some());
            }
            assert_eq!(registry.open_uploads(), 0, "{method}");
            assert_eq!(registry.grants().len(), 2, "{method}");
        }
    }
    // A token for each request, and a manifest.
    let (registry, client) = strict();
    registry.require(Auth::Bearer(Bearer { uses: Some(1), ..strict_bearer() }));
    client.upload_blob(&at(&registry, NAME), &mut Blob::known(&bytes)).unwrap();
    client.put_manifest(&at(&registry, NAME), "v1", MANIFEST, &MediaType::OCI_MANIFEST).unwrap();
    assert!(registry.manifest(NAME, "v1").is_some());
}

#[test]
fn a_refusal_before_the_body_is_read() {
    let bytes = pattern(5_000_000);
    let (registry, client) = strict();
    let rule = Rule::on(UPLOADS).method("PATCH").times(1);
    registry.misbehave(rule.fault(Fault::RevokeTokens).fault(Fault::AnswerEarly));
    client.upload_blob(&at(&registry, NAME), &mut Blob::known(&bytes)).unwrap();
    assert!(registry.blob(NAME, &Digest::of(&bytes)).is_some());
}

/// Credentials go to the registry and its token server only, wherever redirects, locations and links lead.
#[test]
fn other_servers_get_no_credentials() {
    let bytes = pattern(3_000_000);
    for auth in [Auth::Bearer(strict_bearer()), Auth::basic("ann", "secret")] {
        for method in ["POST", "PATCH", "PUT", "HEAD"] {
            let (registry, client) = strict();
            registry.require(auth.clone());
            // It asks for credentials, which it must not get.
            let other = Registry::start();
            other.require(Auth::basic("ann", "secret"));
            registry.misbehave(Rule::on("/v2/some").method(method).fault(Fault::RedirectTo(other.url())));
            let reference = at(&registry, NAME);
            let _ = client.has_blob(&reference, &Digest::of(&bytes));
            let _ = client.upload_blob(&reference, &mut Blob::known(&bytes));
            let _ = client.upload_blob(&reference, &mut Blob::known(b"short"));
            let _ = client.put_manifest(&reference, "v1", MANIFEST, &MediaType::OCI_MANIFEST);
            let _ = client.mount_blob(&reference, &Digest::of(b"short"), &at(&registry, "from/here"));
            assert_no_credentials(&other);
        }
        // Locations of uploads and of mounts.
        let (registry, client) = strict();
        registry.require(auth.clone());
        registry.put_blob(b"short".as_slice());
        let other = Registry::start();
        other
            .require(Auth::Bearer(Bearer { user: Some(("ann".to_owned(), "secret".to_owned())), ..Bearer::default() }));
        registry.misbehave(Rule::on("mount=").fault(Fault::NoMount));
        registry.misbehave(Rule::on(UPLOADS).method("POST").fault(Fault::LocationAt(other.url())));
        let reference = at(&registry, NAME);
        for mut blob in [Blob::known(&bytes), Blob::unknown(&bytes), Blob::known(b"tiny")] {
            let error = client.upload_blob(&reference, &mut blob).unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        }
        assert!(!client.mount_blob(&reference, &Digest::of(b"short"), &at(&registry, "from/here")).unwrap());
        let methods: Vec<String> = other.requests().into_iter().map(|request| request.method).collect();
        assert!(
            ["PATCH", "PUT", "DELETE"].iter().all(|method| methods.iter().any(|sent| sent == method)),
            "{methods:?}"
        );
        assert_no_credentials(&other);
        assert_eq!(other.count(TOKENS), 0);
        // Links to the next page.
        let (registry, client) = strict();
        registry.require(auth.clone());
        registry.configure(Features { page_size: 1, ..Features::default() });
        for tag in ["a", "b"] {
            registry.put_manifest(NAME, Some(tag), MANIFEST_TYPE, MANIFEST);
            registry.put_manifest(&format!("{NAME}/{tag}"), Some(tag), MANIFEST_TYPE, MANIFEST);
        }
        let other = Registry::start();
        other.put_manifest(NAME, Some("c"), MANIFEST_TYPE, MANIFEST);
        for path in ["/tags/list", "/v2/_catalog"] {
            let link = format!("<{}/v2/{NAME}/tags/list>; rel=next", other.url());
            registry.misbehave(Rule::on(path).fault(Fault::Header("Link", link)));
        }
        assert_eq!(client.tags(&at(&registry, NAME)).unwrap().tags, ["a", "c"]);
        client.repositories(&registry.host()).unwrap();
        assert_eq!(other.count(""), 2);
        assert_no_credentials(&other);
    }
}

/// An upload whose Location is on storage that needs no credentials, as some registries have it.
#[test]
fn uploads_go_on_at_another_server() {
    let bytes = pattern(3_000_000);
    let (registry, client) = strict();
    let storage = Registry::start();
    let anonymous = crate::fixture::client();
    // The storage knows the upload, because it was started there.
    registry.misbehave(Rule::on(UPLOADS).method("POST").fault(Fault::RedirectTo(storage.url())));
    client.upload_blob(&at(&registry, NAME), &mut Blob::unknown(&bytes)).unwrap();
    assert!(storage.blob(NAME, &Digest::of(&bytes)).is_some());
    assert_eq!(anonymous.has_blob(&at(&storage, NAME), &Digest::of(&bytes)).unwrap(), Some(3_000_000));
    assert_no_credentials(&storage);
    let sent = registry.requests().into_iter().filter(|request| request.path.contains(UPLOADS)).count();
    assert!(sent >= 1 && registry.count(MANIFESTS) == 0);
}

#[test]
fn basic_credentials_are_sent_with_each_step() {
    let registry = Registry::start();
    registry.require(Auth::basic("ann", "secret"));
    let client = client_with(password("ann", "secret"));
    client.upload_blob(&at(&registry, NAME), &mut Blob::unknown(&pattern(2_000_000))).unwrap();
    let requests: Vec<_> = registry.requests().into_iter().filter(|request| request.path.contains(UPLOADS)).collect();
    let sent: Vec<bool> = requests.iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true, true]);
    assert_eq!(requests.last().unwrap().method, "PUT");
}
