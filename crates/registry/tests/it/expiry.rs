//! Credentials that are good for an hour, in a client that lives for weeks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use vmroot_registry::{Client, ClientOptions, Credential, Credentials, Error, Result};
use vmroot_testkit::registry::{Auth, Bearer, Fault, Rule};

use crate::fixture::{Fixture, MANIFESTS, options, password, says};

/// Gives the credential that a test sets, and counts the calls.
struct Changing {
    current: Mutex<Credential>,
    asked: AtomicUsize,
}

impl Changing {
    fn new(credential: Credential) -> Arc<Self> {
        Arc::new(Self { current: Mutex::new(credential), asked: AtomicUsize::new(0) })
    }

    fn becomes(&self, credential: Credential) {
        *self.current.lock().unwrap() = credential;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn client(self: &Arc<Self>) -> Client {
        Client::new(ClientOptions { credentials: self.clone(), ..options() }).unwrap()
    }
}

impl Credentials for Changing {
    fn get(&self, _: &str, _: &str) -> Result<Option<Credential>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Some(self.current.lock().unwrap().clone()))
    }
}

/// The ways of a registry to take the credential `number`, and to take no other any more.
type Kind = (fn(usize) -> Credential, fn(usize) -> Auth);

const KINDS: [Kind; 3] = [
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
fn a_new_password_is_asked_for_when_the_old_one_is_refused() {
    for (credential, auth) in KINDS {
        let fixture = Fixture::new();
        let source = Changing::new(credential(0));
        let client = source.client();
        for number in 0..3 {
            source.becomes(credential(number));
            fixture.registry.require(auth(number));
            for _ in 0..2 {
                client.manifest(&fixture.reference()).unwrap();
            }
            assert_eq!(source.asked(), number + 1);
        }
    }
}

/// Gives a password that has just expired the first time, and then the one that the refresh has brought, as helpers do that
/// refresh in the background or only once a password was refused.
#[test]
fn a_very_first_answer_that_is_refused_is_asked_for_once_more() {
    struct Refreshing(Kind, AtomicUsize);
    impl Credentials for Refreshing {
        fn get(&self, _: &str, _: &str) -> Result<Option<Credential>> {
            Ok(Some((self.0.0)(self.1.fetch_add(1, Ordering::SeqCst))))
        }
    }
    for kind in KINDS {
        let fixture = Fixture::new();
        let source = Arc::new(Refreshing(kind, AtomicUsize::new(0)));
        let client = Client::new(ClientOptions { credentials: source.clone(), ..options() }).unwrap();
        fixture.registry.require(kind.1(1));
        client.manifest(&fixture.reference()).unwrap();
        assert_eq!(source.1.load(Ordering::SeqCst), 2);
        // A helper whose second answer is refused as well is not asked a third time for the same request.
        let source = Arc::new(Refreshing(kind, AtomicUsize::new(0)));
        let client = Client::new(ClientOptions { credentials: source.clone(), ..options() }).unwrap();
        fixture.registry.require(kind.1(9));
        client.manifest(&fixture.reference()).unwrap_err();
        assert_eq!(source.1.load(Ordering::SeqCst), 2);
    }
}

/// ECR answers 403 without a challenge.
#[test]
fn a_password_that_is_forbidden_may_be_old_as_well() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("AWS", "0"));
    let source = Changing::new(password("AWS", "0"));
    let client = source.client();
    client.manifest(&fixture.reference()).unwrap();

    let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#;
    let refusal = || Fault::Status(403, vec![], expired.to_owned());
    fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(refusal()));
    fixture.registry.require(Auth::basic("AWS", "1"));
    source.becomes(password("AWS", "1"));
    client.manifest(&fixture.reference()).unwrap();
    assert_eq!(source.asked(), 2);

    // If the password has not changed, the refusal stands.
    fixture.registry.clear_requests();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(refusal()));
    says(client.manifest(&fixture.reference()), &["403", "has expired"]);
    assert_eq!((source.asked(), fixture.registry.count(MANIFESTS)), (3, 1));
}

/// A refusal need not repeat its challenge.
#[test]
fn a_refusal_without_a_challenge_is_one_too() {
    for (credential, auth) in KINDS {
        let fixture = Fixture::new();
        fixture.registry.require(auth(0));
        let source = Changing::new(credential(0));
        let client = source.client();
        client.manifest(&fixture.reference()).unwrap();
        source.becomes(credential(1));
        fixture.registry.require(auth(1));
        fixture.registry.misbehave(Rule::on(MANIFESTS).times(1).fault(Fault::WithoutHeader("WWW-Authenticate")));
        client.manifest(&fixture.reference()).unwrap();
        assert_eq!(source.asked(), 2);
    }
}

/// A 404 is no fault of the password.
#[test]
fn nobody_is_asked_for_what_is_not_there() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("AWS", "0"));
    let source = Changing::new(password("AWS", "0"));
    let client = source.client();
    client.manifest(&fixture.reference()).unwrap();
    fixture.registry.clear_requests();
    fixture.registry.misbehave(Rule::on(MANIFESTS).fault(Fault::Status(404, vec![], "gone".to_owned())));
    says(client.manifest(&fixture.reference()), &["gone"]);
    assert_eq!((source.asked(), fixture.registry.requests().len()), (1, 1));
}

#[test]
fn passwords_that_are_always_new_and_wrong_make_no_endless_loop() {
    #[derive(Default)]
    struct Endless(AtomicUsize);
    impl Credentials for Endless {
        fn get(&self, _: &str, _: &str) -> Result<Option<Credential>> {
            Ok(Some(password("ann", &self.0.fetch_add(1, Ordering::SeqCst).to_string())))
        }
    }
    for (_, auth) in &KINDS[..2] {
        let fixture = Fixture::new();
        fixture.registry.require(auth(999));
        let source = Arc::new(Endless::default());
        let client = Client::new(ClientOptions { credentials: source.clone(), ..options() }).unwrap();
        for number in 1..5 {
            let error = says(client.manifest(&fixture.reference()), &["401"]);
            assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error:?}");
            assert_eq!(source.0.load(Ordering::SeqCst), number + 1, "once at first, and once more for each request");
        }
        assert!(fixture.registry.requests().len() <= 14, "{}", fixture.registry.requests().len());
    }
}

/// A token server that gives everybody a token, and less to whose password is old.
#[test]
fn a_new_token_that_is_refused_may_come_of_an_old_password() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(Bearer::default()));
    let source = Changing::new(password("ann", "old"));
    let client = source.client();
    client.manifest(&fixture.reference()).unwrap();
    source.becomes(password("ann", "new"));
    let challenge = format!(r#"Bearer realm="{}/token",service="registry.test""#, fixture.registry.url());
    let refusal = Fault::Status(401, vec![("WWW-Authenticate", challenge)], String::new());
    // The token that is there, and the one that the old password gets.
    fixture.registry.misbehave(Rule::on(MANIFESTS).times(2).fault(refusal));
    client.manifest(&fixture.reference()).unwrap();
    let sent = fixture.requests("/token");
    let sent: Vec<_> = sent.iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!(sent, ["Basic YW5uOm9sZA==", "Basic YW5uOm9sZA==", "Basic YW5uOm5ldw=="]);
}

#[test]
fn a_registry_token_is_asked_for_once_more_too() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::Bearer(Bearer { uses: Some(1), ..Bearer::default() }));
    let source = Changing::new(Credential::RegistryToken("0".to_owned()));
    let client = source.client();
    says(client.manifest(&fixture.reference()), &["401"]);
    source.becomes(Credential::RegistryToken("1".to_owned()));
    says(client.manifest(&fixture.reference()), &["401"]);
    let sent = fixture.requests(MANIFESTS);
    let sent: Vec<_> = sent.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(sent, [None, Some("Bearer 0"), Some("Bearer 0"), Some("Bearer 1")]);
}

#[test]
fn threads_share_the_new_password() {
    for (credential, auth) in KINDS {
        let fixture = Fixture::new();
        let source = Changing::new(credential(0));
        let client = source.client();
        fixture.registry.require(auth(0));
        client.manifest(&fixture.reference()).unwrap();
        for number in 1..4 {
            source.becomes(credential(number));
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
            assert_eq!(source.asked(), number + 1);
        }
    }
}
