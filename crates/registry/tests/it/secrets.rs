//! Passwords and tokens never appear in messages, debug output or traces.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use vmroot_registry::{
    AuthFiles, Cancel, Client, ClientOptions, Credential, CredentialChain, FixedCredential, Proxies,
};
use vmroot_testkit::registry::{Auth, Bearer, Fault, Rule};

use crate::fixture::{BLOBS, Fixture, client_with, options, password};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the result of `work`, and everything that this thread traces meanwhile.
pub(crate) fn capture_trace<T>(work: impl FnOnce() -> T) -> (T, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let done = tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (done, text)
}

#[test]
fn traces_contain_no_credentials() {
    let secret = "s3cret-w0rd";
    let kinds = [
        (password("ann", secret), Auth::basic("ann", secret)),
        (
            password("ann", secret),
            Auth::Bearer(Bearer {
                user: Some(("ann".to_owned(), secret.to_owned())),
                uses: Some(2),
                ..Bearer::default()
            }),
        ),
        (
            Credential::IdentityToken(secret.to_owned()),
            Auth::Bearer(Bearer { identity_token: Some(secret.to_owned()), ..Bearer::default() }),
        ),
        (Credential::RegistryToken(secret.to_owned()), Auth::Bearer(Bearer::default())),
        (password("ann", "wrong-s3cret-w0rd"), Auth::basic("ann", secret)),
    ];
    for (credential, auth) in kinds {
        let fixture = Fixture::new();
        fixture.registry.require(auth);
        fixture.registry.misbehave(Rule::on(BLOBS).skip(1).times(2).fault(Fault::CutAfter(10)));
        let client = client_with(credential.clone());
        let (result, log) = capture_trace(|| {
            let result = client.manifest(&fixture.reference()).map(drop);
            result.and_then(|()| fixture.pull_with(&client, 0)).map(drop)
        });
        let all = format!("{log}\n{result:?}\n{client:?}\n{credential:?}");
        assert!(log.contains("searched for credentials"), "{log}");
        // The second and third text are the base64 of `ann:s3cret-w0rd` and of the start of `ann:wrong-s3cret-w0rd`.
        for part in [secret, "YW5uOnMzY3JldC13MHJk", "YW5uOndyb25n", "token-1", "token-2"] {
            assert!(!all.contains(part), "{part} is in {all}");
        }
    }
}

#[test]
fn debug_output_contains_no_secrets() {
    let secret = "s3cret-w0rd";
    let proxy = Some(format!("http://ann:{secret}@proxy.example:3128"));
    let proxies = Proxies { http: proxy.clone(), https: proxy, no_proxy: None };
    let explicit = FixedCredential(password("ann", secret));
    let text = format!("{proxies:?} {explicit:?}");
    let credentials = Arc::new(CredentialChain(vec![Arc::new(explicit)]));
    let options = ClientOptions { proxies, credentials, ..options() };
    let client = Client::new(options.clone()).unwrap();
    let text = format!("{text} {options:?} {client:?}");
    assert!(!text.contains(secret), "{text}");
}

#[test]
fn errors_do_not_quote_credential_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    for text in [
        r#"{"auths":{"127.0.0.1":{"auth":["s3cret"]}}}"#,
        r#"{"auths":{"127.0.0.1":{"auth":"s3cret!"}}}"#,
        r#"{"auths":{"127.0.0.1":"s3cret"}}"#,
        r#""s3cret"#,
    ] {
        std::fs::write(&path, text).unwrap();
        let files = AuthFiles::new(vec![path.clone()]);
        let error = vmroot_registry::Credentials::get(&files, "127.0.0.1", "a", &Cancel::new()).unwrap_err();
        let message = format!("{error} {error:?}");
        assert!(message.contains("auth.json") && !message.contains("s3cret"), "{message}");
    }
}
