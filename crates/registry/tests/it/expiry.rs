//! Credentials that expire during the life of a client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use vmroot_registry::{Cancel, Client, ClientOptions, Credential, Credentials, Error, Result};
use vmroot_testkit::registry::{Auth, Bearer, Fault, Rule};

use crate::fixture::{Fixture, MANIFESTS, assert_message, options, password};

/// A source that returns the credential that a test sets, and counts the calls.
struct ChangingSource {
    current: Mutex<Credential>,
    calls: AtomicUsize,
}

impl ChangingSource {
    fn new(credential: Credential) -> Arc<Self> {
        Arc::new(Self { current: Mutex::new(credential), calls: AtomicUsize::new(0) })
    }

    fn set(&self, credential: Credential) {
        *self.current.lock().unwrap() = credential;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn client(self: &Arc<Self>) -> Client {
        Client::new(ClientOptions { credentials: self.clone(), ..options() }).unwrap()
    }
}

impl Credentials for ChangingSource {
    fn get(&self, _: &str, _: &str, _: &Cancel) -> Result<Option<Credential>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Some(self.current.lock().unwrap().clone()))
    }
}

/// For a number, the credential, and the authentication that accepts only this credential.
type AuthKind = (fn(usize) -> Credential, fn(usize) -> Auth);

const KINDS: [AuthKind; 3] = [
    (|number| password("AWS", &number.to_string()), |number| Auth::basic("AWS", &number.to_string())),
    (
        |number| password("oauth2accesstoken", &number.to_string()),
        |number| {
            let user = Some(("oauth2accesstoken".to_owned(), number.to_string()));
            Auth::Bearer(Bearer { user, uses: Some(1), ..Bearer::default() })
        },
    ),
    (
        |number| Credential::IdentityToken(number.to_string()),
        |number| Auth::Bearer(Bearer { identity_token: Some(number.to_string()), uses: Some(1), ..Bearer::default() }),
    ),
];

#[test]
fn a_refused_password_is_renewed() {
    for (credential, auth) in KINDS {
        let fixture = Fixture::new();
        let source = ChangingSource::new(credential(0));
        let client = source.client();
        for number in 0..3 {
            source.set(credential(number));
            fixture.registry.require(auth(number));
            for _ in 0..2 {
                client.manifest(&fixture.reference()).unwrap();
            }
            assert_eq!(source.calls(), number + 1);
        }
    }
}

/// A source whose first password has expired and whose next ones are valid, like a helper that refreshes its password
/// in the background or after a refusal.
#[test]
fn a_refused_first_password_is_renewed_once() {
    struct RefreshingSource(AuthKind, AtomicUsize);
    impl Credentials for RefreshingSource {
        fn get(&self, _: &str, _: &str, _: &Cancel) -> Result<Option<Credential>> {
            Ok(Some((self.0.0)(self.1.fetch_add(1, Ordering::SeqCst))))
        }
    }
    for kind in KINDS {
        let fixture = Fixture::new();
        let source = Arc::new(RefreshingSource(kind, AtomicUsize::new(0)));
        let client = Client::new(ClientOptions { credentials: source.clone(), ..options() }).unwrap();
        fixture.registry.require(kind.1(1));
        client.manifest(&fixture.reference()).unwrap();
        assert_eq!(source.1.load(Ordering::SeqCst), 2);
        // If the second password is refused as well, the source is not consulted a third time for the same request.
        let source = Arc::new(RefreshingSource(kind, AtomicUsize::new(0)));
        let client = Client::new(ClientOptions { credentials: source.clone(), ..options() }).unwrap();
        fixture.registry.require(kind.1(9));
        client.manifest(&fixture.reference()).unwrap_err();
        assert_eq!(source.1.load(Ordering::SeqCst), 2);
    }
}

/// ECR answers 403 without a challenge.
#[test]
fn status_403_renews_the_password() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("AWS", "0"));
    let source = ChangingSource::new(password("AWS", "0"));
    let client = source.client();
    client.manifest(&fixture.reference()).unwrap();

    let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#;
    let refusal = || Fault::Status(403, vec![], expired.to_owned());
    fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(refusal()));
    fixture.registry.require(Auth::basic("AWS", "1"));
    source.set(password("AWS", "1"));
    client.manifest(&fixture.reference()).unwrap();
    assert_eq!(source.calls(), 2);

    // If the password has not changed, the error is returned.
    fixture.registry.clear_requests();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(refusal()));
    assert_message(client.manifest(&fixture.reference()), &["403", "has expired"]);
    assert_eq!((source.calls(), fixture.registry.count(MANIFESTS)), (3, 1));
}

/// The challenge of a refusal is optional.
#[test]
fn status_401_without_a_challenge_renews_the_password() {
    for (credential, auth) in KINDS {
        let fixture = Fixture::new();
        fixture.registry.require(auth(0));
        let source = ChangingSource::new(credential(0));
        let client = source.client();
        client.manifest(&fixture.reference()).unwrap();
        source.set(credential(1));
        fixture.registry.require(auth(1));
        fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(Fault::WithoutHeader("WWW-Authenticate")));
        client.manifest(&fixture.reference()).unwrap();
        assert_eq!(source.calls(), 2);
    }
}

/// Status 404 is not caused by the password.
#[test]
fn status_404_does_not_renew_the_password() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("AWS", "0"));
    let source = ChangingSource::new(password("AWS", "0"));
    let client = source.client();
    client.manifest(&fixture.reference()).unwrap();
    fixture.registry.clear_requests();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(Fault::Status(404, vec![], "gone".to_owned())));
    assert_message(client.manifest(&fixture.reference()), &["gone"]);
    assert_eq!((source.calls(), fixture.registry.requests().len()), (1, 1));
}

#[test]
fn new_wrong_passwords_cause_no_endless_loop() {
    #[derive(Default)]
    struct EndlessSource(AtomicUsize);
    impl Credentials for EndlessSource {
        fn get(&self, _: &str, _: &str, _: &Cancel) -> Result<Option<Credential>> {
            Ok(Some(password("ann", &self.0.fetch_add(1, Ordering::SeqCst).to_string())))
        }
    }
    for (_, auth) in &KINDS[..2] {
        let fixture = Fixture::new();
        fixture.registry.require(auth(999));
        let source = Arc::new(EndlessSource::default());
        let client = Client::new(ClientOptions { credentials: source.clone(), ..options() }).unwrap();
        for number in 1..5 {
            let error = assert_message(client.manifest(&fixture.reference()), &["401"]);
            assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
            assert_eq!(source.0.load(Ordering::SeqCst), number + 1, "once at first, and once for each request");
        }
        assert!(fixture.registry.requests().len() <= 14, "{}", fixture.registry.requests().len());
    }
}

/// A token server that issues tokens to everyone, with less access for an old password.
#[test]
fn a_refused_new_token_renews_the_password() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(Bearer::default()));
    let source = ChangingSource::new(password("ann", "old"));
    let client = source.client();
    client.manifest(&fixture.reference()).unwrap();
    source.set(password("ann", "new"));
    let challenge = format!(r#"Bearer realm="{}/token",service="registry.test""#, fixture.registry.url());
    let refusal = Fault::Status(401, vec![("WWW-Authenticate", challenge)], String::new());
    // The cached token, and the one for the old password.
    fixture.registry.misbehave(Rule::on(MANIFESTS).times(2).fault(refusal));
    client.manifest(&fixture.reference()).unwrap();
    let sent = fixture.requests("/token");
    let sent: Vec<_> = sent.iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!(sent, ["Basic YW5uOm9sZA==", "Basic YW5uOm9sZA==", "Basic YW5uOm5ldw=="]);
}

#[test]
fn a_refused_registry_token_is_renewed() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(Bearer { uses: Some(1), ..Bearer::default() }));
    let source = ChangingSource::new(Credential::RegistryToken("0".to_owned()));
    let client = source.client();
    assert_message(client.manifest(&fixture.reference()), &["401"]);
    source.set(Credential::RegistryToken("1".to_owned()));
    assert_message(client.manifest(&fixture.reference()), &["401"]);
    let sent = fixture.requests(MANIFESTS);
    let sent: Vec<_> = sent.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [None, Some("Bearer 0"), Some("Bearer 0"), Some("Bearer 1")]);
}

#[test]
fn threads_share_the_new_password() {
    for (credential, auth) in KINDS {
        let fixture = Fixture::new();
        let source = ChangingSource::new(credential(0));
        let client = source.client();
        fixture.registry.require(auth(0));
        client.manifest(&fixture.reference()).unwrap();
        for number in 1..4 {
            source.set(credential(number));
            fixture.registry.require(match auth(number) {
                Auth::Bearer(bearer) => Auth::Bearer(Bearer { uses: None, ..bearer }),
                basic => basic,
            });
            fixture.registry.revoke_tokens();
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| client.manifest(&fixture.reference()).unwrap());
                }
            });
            assert_eq!(source.calls(), number + 1);
        }
    }
}
