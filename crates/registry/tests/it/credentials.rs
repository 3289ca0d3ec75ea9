//! The sources of credentials, and their order.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use vmroot_registry::{
    AuthFiles, Cancel, Client, ClientOptions, Credential, CredentialChain, Credentials, Error, FixedCredential,
};
use vmroot_testkit::FullMessage as _;
use vmroot_testkit::registry::Auth;

use crate::fixture::{Fixture, NAME, options, password};

/// A directory for credential files and helpers.
struct Home {
    directory: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a credential file.
    fn file(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content.to_string()).unwrap();
        path
    }

    /// Creates the program `docker-credential-NAME`. It appends its requests to a file beside it.
    fn helper(&self, name: &str, script: &str) {
        let (text, program) = (self.path("script"), self.path(&format!("docker-credential-{name}")));
        let script = format!("#!/bin/sh\nserver=$(cat)\necho \"$1 $server\" >>\"$0.asked\"\n{script}\n");
        fs::write(&text, script).unwrap();
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        // Written by `cp`, because another thread of this process could start a program that inherits the open file,
        // and a file open for writing cannot be executed.
        assert!(Command::new("cp").arg(&text).arg(&program).status().unwrap().success());
    }

    /// Returns the requests to a helper.
    fn requests(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("docker-credential-{name}.asked"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn files(&self, files: &[&Path]) -> AuthFiles {
        AuthFiles {
            files: files.iter().map(|path| path.to_path_buf()).collect(),
            helper_directories: vec![self.directory.path().to_owned()],
            helper_timeout: Duration::from_secs(20),
        }
    }
}

/// Returns an entry of `auths` for `user` with the password `pass`.
fn entry(user: &str) -> Value {
    use base64::Engine as _;
    json!({ "auth": base64::engine::general_purpose::STANDARD.encode(format!("{user}:pass")) })
}

fn user(found: Option<Credential>) -> Option<String> {
    found.map(|credential| match credential {
        Credential::Password { user, password } => {
            assert_eq!(password, "pass");
            user
        }
        other => panic!("{other:?}"),
    })
}

const ANSWER: &str = r#"echo '{"ServerURL":"x","Username":"helped","Secret":"pass"}'"#;

#[test]
fn the_first_source_and_the_first_file_take_precedence() {
    let home = Home::new();
    let first = home.file("first.json", &json!({ "auths": { "a.test": entry("one") } }));
    let second = home.file("second.json", &json!({ "auths": { "a.test": entry("two"), "b.test": entry("bob") } }));
    let files = home.files(&[&home.path("gone.json"), &first, &second]);
    assert_eq!(user(files.get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "one");
    assert_eq!(user(files.get("b.test", "x", &Cancel::new()).unwrap()).unwrap(), "bob");
    assert_eq!(files.get("c.test", "x", &Cancel::new()).unwrap(), None);

    let chain = CredentialChain(vec![Arc::new(FixedCredential(password("ann", "pass"))), Arc::new(files.clone())]);
    assert_eq!(user(chain.get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "ann");
    let chain = CredentialChain(vec![Arc::new(files), Arc::new(FixedCredential(password("ann", "pass")))]);
    assert_eq!(user(chain.get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "one");
    assert_eq!(user(chain.get("c.test", "x", &Cancel::new()).unwrap()).unwrap(), "ann");
}

#[test]
fn the_most_specific_key_takes_precedence() {
    let home = Home::new();
    let auths = json!({ "auths": {
        "a.test": entry("host"),
        "a.test/team": entry("team"),
        "a.test/team/app": entry("app"),
        "a.test/team/empty": {},
        "https://b.test/v2/": entry("url"),
        "http://c.test:5000": entry("port"),
    } });
    let path = home.file("auth.json", &auths);
    let files = home.files(&[&path]);
    for (domain, repository, expected) in [
        ("a.test", "team/app", Some("app")),
        ("a.test", "team/app/part", Some("app")),
        ("a.test", "team/application", Some("team")),
        ("a.test", "team/empty", Some("team")),
        ("a.test", "teams/app", Some("host")),
        ("a.test:5000", "team/app", None),
        ("b.test", "x", Some("url")),
        ("c.test:5000", "x", Some("port")),
        ("c.test", "x", None),
        ("test", "x", None),
    ] {
        let found = user(files.get(domain, repository, &Cancel::new()).unwrap());
        assert_eq!(found.as_deref(), expected, "{domain}/{repository}");
    }
}

#[test]
fn docker_hub_has_many_names() {
    for key in
        ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io", "https://docker.io"]
    {
        let home = Home::new();
        let path = home.file("config.json", &json!({ "auths": { key: entry("hub") } }));
        assert_eq!(
            user(home.files(&[&path]).get("docker.io", "library/alpine", &Cancel::new()).unwrap()).unwrap(),
            "hub",
            "{key}"
        );
    }
    let home = Home::new();
    let path = home.file("config.json", &json!({ "auths": { "docker.io/library": entry("library") } }));
    let files = home.files(&[&path]);
    assert_eq!(user(files.get("docker.io", "library/alpine", &Cancel::new()).unwrap()).unwrap(), "library");
    assert_eq!(files.get("docker.io", "other/alpine", &Cancel::new()).unwrap(), None);
}

#[test]
fn entries_have_many_forms() {
    let home = Home::new();
    let path = home.file(
        "config.json",
        &json!({ "auths": {
        "pair.test": { "username": "ann", "password": "pass" },
        "identity.test": { "auth": "PHRva2VuPjo=", "identitytoken": "id" },
        "user.test": { "auth": "PHRva2VuPjppZA==" },
        "registry.test": { "registrytoken": "reg" },
        "nul.test": { "auth": "YW5uOnBhc3MAAAA=" },
        "colon.test": { "auth": "YW5uOnA6YTpz" },
        "bad.test": { "auth": "not base64!" },
        "none.test": { "auth": "bm8gY29sb24=" },
        "empty.test": { "auth": "" },
    } }),
    );
    let files = home.files(&[&path]);
    assert_eq!(user(files.get("pair.test", "x", &Cancel::new()).unwrap()).unwrap(), "ann");
    assert_eq!(
        files.get("identity.test", "x", &Cancel::new()).unwrap(),
        Some(Credential::IdentityToken("id".to_owned()))
    );
    assert_eq!(files.get("user.test", "x", &Cancel::new()).unwrap(), Some(Credential::IdentityToken("id".to_owned())));
    assert_eq!(
        files.get("registry.test", "x", &Cancel::new()).unwrap(),
        Some(Credential::RegistryToken("reg".to_owned()))
    );
    assert_eq!(user(files.get("nul.test", "x", &Cancel::new()).unwrap()).unwrap(), "ann");
    assert_eq!(files.get("colon.test", "x", &Cancel::new()).unwrap(), Some(password("ann", "p:a:s")));
    assert_eq!(files.get("empty.test", "x", &Cancel::new()).unwrap(), None);
    for domain in ["bad.test", "none.test"] {
        let message = files.get(domain, "x", &Cancel::new()).unwrap_err().full_message();
        assert!(message.contains("config.json") && message.contains(domain), "{message}");
    }
}

/// Base64 wrapped at 76 columns like the output of `base64`, as scripts insert it, and without padding as some
/// libraries write it.
#[test]
fn base64_is_decoded_in_all_its_forms() {
    let secret = format!("ann:{}", "long-password-".repeat(12));
    let plain = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&secret)
    };
    let wrapped = |width: usize, end: &str| {
        let lines = plain.as_bytes().chunks(width).map(|line| format!("{}{end}", String::from_utf8_lossy(line)));
        lines.collect::<String>()
    };
    assert!(plain.ends_with('='), "{plain}");
    let home = Home::new();
    for (number, auth) in [
        plain.clone(),
        wrapped(76, "\n"),
        wrapped(64, "\r\n"),
        wrapped(4, "\t "),
        plain.trim_end_matches('=').to_owned(),
        wrapped(76, "\n").replace('=', ""),
        format!("\n  {plain}\r\n"),
        plain.strip_suffix('=').unwrap().to_owned() + " =",
    ]
    .into_iter()
    .enumerate()
    {
        let path = home.file("auth.json", &json!({ "auths": { "a.test": { "auth": auth } } }));
        let found = home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap();
        assert_eq!(found, Some(password("ann", &secret[4..])), "{number}: {auth:?}");
    }
    // `ann:?>~` in the URL-safe alphabet, and a text whose trailing bits are not zero.
    for (auth, expected) in [("YW5uOj8-fg==", "?>~"), ("YW5uOj8-fg", "?>~"), ("YW5uOnB=", "p")] {
        let path = home.file("auth.json", &json!({ "auths": { "a.test": { "auth": auth } } }));
        assert_eq!(
            home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap(),
            Some(password("ann", expected)),
            "{auth}"
        );
    }
    for field in ["identitytoken", "registrytoken"] {
        let path = home.file("auth.json", &json!({ "auths": { "a.test": { field: " tok\r\n" } } }));
        let found = format!("{:?}", home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap().unwrap());
        assert!(found.to_lowercase().contains(field), "{found}");
    }
    let path = home.file("auth.json", &json!({ "auths": { "a.test": { "identitytoken": " tok\r\n" } } }));
    let found = home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap();
    assert_eq!(found, Some(Credential::IdentityToken("tok".to_owned())));
}

#[test]
fn keys_of_a_registry_have_many_forms() {
    let home = Home::new();
    for key in [
        "a.test:5000",
        "a.test:5000/",
        "http://a.test:5000",
        "https://a.test:5000/",
        "https://a.test:5000/v1/",
        "https://a.test:5000/v2",
        "HTTPS://A.test:5000/v2/",
        "a.test:5000/v1/",
        "a.test:5000/v2",
        "A.TEST:5000",
    ] {
        let path = home.file("config.json", &json!({ "auths": { key: entry("ann") } }));
        assert_eq!(
            user(home.files(&[&path]).get("a.test:5000", "x", &Cancel::new()).unwrap()).as_deref(),
            Some("ann"),
            "{key}"
        );
        assert_eq!(home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap(), None, "{key}");
    }
    home.helper("one", ANSWER);
    for key in ["https://a.test", "a.test/", "https://a.test/v2/"] {
        let path = home.file("config.json", &json!({ "credHelpers": { key: "one", "b.test": null } }));
        assert_eq!(
            user(home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap()).as_deref(),
            Some("helped"),
            "{key}"
        );
    }
    let path =
        home.file("config.json", &json!({ "auths": { "a.test/team/": entry("team"), "a.test": entry("host") } }));
    assert_eq!(user(home.files(&[&path]).get("a.test", "other/app", &Cancel::new()).unwrap()).unwrap(), "host");
    assert_eq!(user(home.files(&[&path]).get("a.test", "team/app", &Cancel::new()).unwrap()).unwrap(), "team");
}

/// An invalid entry for another registry is ignored.
#[test]
fn invalid_entries_of_other_registries_are_ignored() {
    let home = Home::new();
    let content = json!({
        "auths": { "a.test": entry("ann"), "b.test": null, "c.test": {}, "d.test": "text", "e.test": { "auth": 5 } },
        "HttpHeaders": { "x": "y" },
    });
    let path = home.file("config.json", &content);
    let files = home.files(&[&path]);
    assert_eq!(user(files.get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "ann");
    for domain in ["b.test", "c.test"] {
        assert_eq!(files.get(domain, "x", &Cancel::new()).unwrap(), None);
    }
    for domain in ["d.test", "e.test"] {
        let message = files.get(domain, "x", &Cancel::new()).unwrap_err().full_message();
        assert!(message.contains("config.json") && message.contains(domain), "{message}");
    }
    let marked = home.path("marked.json");
    fs::write(&marked, format!("\u{feff}{content}")).unwrap();
    assert_eq!(user(home.files(&[&marked]).get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "ann");
}

/// The helper acts like `docker-credential-ecr-login` and `-gcloud`, whose passwords expire after some hours.
#[test]
fn a_helper_is_run_again_when_its_password_is_refused() {
    let home = Home::new();
    home.helper("hourly", r#"printf '{"Username":"AWS","Secret":"%s"}' "$(wc -l <"$0.asked" | tr -d ' ')""#);
    let fixture = Fixture::new();
    let path = home.file("config.json", &json!({ "credHelpers": { fixture.registry.host(): "hourly" } }));
    let credentials = Arc::new(home.files(&[&path]));
    let client = Client::new(ClientOptions { credentials, ..options() }).unwrap();
    for hour in 1..=3 {
        fixture.registry.require(Auth::basic("AWS", &hour.to_string()));
        client.manifest(&fixture.reference()).unwrap();
        assert!(fixture.pull_with(&client, 0).unwrap() == fixture.bytes);
        assert_eq!(home.requests("hourly").len(), hour);
    }
}

#[test]
fn empty_files_old_files_and_invalid_files() {
    let home = Home::new();
    fs::write(home.path("empty.json"), " \n").unwrap();
    let null = home.file("null.json", &json!({ "auths": null, "credHelpers": null, "credsStore": "", "other": [1] }));
    let old = home.file(".dockercfg", &json!({ "https://a.test/v1/": entry("old") }));
    let files = home.files(&[&home.path("empty.json"), &null, &old]);
    assert_eq!(user(files.get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "old");

    fs::write(home.path("bad.json"), "{").unwrap();
    let error = home.files(&[&home.path("bad.json")]).get("a.test", "x", &Cancel::new()).unwrap_err();
    assert!(matches!(error, Error::AuthFile { .. }), "{error:?}");
    // Kubernetes creates a directory for a secret that is optional and does not exist.
    let files = home.files(&[home.directory.path(), &old]);
    assert_eq!(user(files.get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "old");
}

#[test]
fn cred_helpers_precede_auths_and_creds_store_follows() {
    let home = Home::new();
    home.helper("one", ANSWER);
    home.helper("all", r#"echo '{"Username":"stored","Secret":"pass"}'"#);
    let path = home.file(
        "config.json",
        &json!({
            "auths": { "a.test": entry("file"), "b.test": entry("file"), "c.test": {} },
            "credHelpers": { "a.test": "one" },
            "credsStore": "all",
        }),
    );
    let files = home.files(&[&path]);
    assert_eq!(user(files.get("a.test", "team/app", &Cancel::new()).unwrap()).unwrap(), "helped");
    assert_eq!(user(files.get("b.test", "x", &Cancel::new()).unwrap()).unwrap(), "file");
    assert_eq!(user(files.get("c.test", "x", &Cancel::new()).unwrap()).unwrap(), "stored");
    assert_eq!(user(files.get("d.test:5000", "x", &Cancel::new()).unwrap()).unwrap(), "stored");
    assert_eq!(home.requests("one"), ["get a.test"]);
    assert_eq!(home.requests("all"), ["get c.test", "get d.test:5000"]);
}

#[test]
fn helpers_get_docker_hubs_old_name() {
    let home = Home::new();
    home.helper("hub", &format!("[ \"$server\" = https://index.docker.io/v1/ ] || exit 1\n{ANSWER}"));
    for content in [json!({ "credsStore": "hub" }), json!({ "credHelpers": { "docker.io": "hub" } })] {
        let path = home.file("config.json", &content);
        assert_eq!(
            user(home.files(&[&path]).get("docker.io", "library/alpine", &Cancel::new()).unwrap()).unwrap(),
            "helped"
        );
    }
}

#[test]
fn output_of_helpers() {
    let home = Home::new();
    home.helper("token", r#"echo '{"Username":"<token>","Secret":"id"}'"#);
    home.helper("none", "echo 'credentials not found in native keychain'; exit 1");
    home.helper("empty", r#"echo '{"Username":"","Secret":""}'"#);
    home.helper(
        "talkative",
        &format!("i=0; while [ $i -lt 20000 ]; do echo noise-noise >&2; i=$((i+1)); done\n{ANSWER}"),
    );
    home.helper("broken", "echo 'no keychain'; exit 3");
    home.helper("nonsense", "echo '{\"Secret\": 5, \"x\": \"s3cret\"}'");
    home.helper("killed", "kill -9 $$");
    let get = |helper: &str| {
        let path = home.file("config.json", &json!({ "credHelpers": { "a.test": helper } }));
        home.files(&[&path]).get("a.test", "x", &Cancel::new())
    };
    assert_eq!(get("token").unwrap(), Some(Credential::IdentityToken("id".to_owned())));
    assert_eq!(get("none").unwrap(), None);
    assert_eq!(get("empty").unwrap(), None);
    assert_eq!(user(get("talkative").unwrap()).unwrap(), "helped");
    for (helper, text) in
        [("broken", "no keychain"), ("nonsense", "Username and Secret"), ("killed", "signal"), ("../x", "invalid name")]
    {
        let error = get(helper).unwrap_err();
        let message = error.full_message();
        assert!(
            matches!(error, Error::Helper { .. }) && message.contains(text) && message.contains(helper),
            "{message}"
        );
        assert!(!message.contains("s3cret"));
    }
}

#[test]
fn a_helper_that_hangs_is_killed() {
    let home = Home::new();
    home.helper("slow", "exec sleep 1000");
    let path = home.file("config.json", &json!({ "credHelpers": { "a.test": "slow" } }));
    let files = AuthFiles { helper_timeout: Duration::from_millis(300), ..home.files(&[&path]) };
    let message = files.get("a.test", "x", &Cancel::new()).unwrap_err().full_message();
    assert!(message.contains("docker-credential-slow") && message.contains("took too long"), "{message}");
}

/// The helper is a script around another program, like that of the Google Cloud SDK. Both processes must end when the
/// search is cancelled or times out. The same holds for the helper of `credsStore`, whose other errors are ignored.
#[test]
fn no_process_of_a_helper_outlives_the_search() {
    let home = Home::new();
    home.helper("script", r#"sh -c 'echo $$ >"$0.pid"; exec sleep 1000' "$0""#);
    let one = home.file("one.json", &json!({ "credHelpers": { "a.test": "script" } }));
    let store = home.file("store.json", &json!({ "credsStore": "script" }));
    let pid = home.path("docker-credential-script.pid");
    for path in [&one, &store] {
        let files = home.files(&[path]);
        let cancel = Cancel::new();
        let error = std::thread::scope(|scope| {
            let search = scope.spawn(|| files.get("a.test", "x", &cancel).unwrap_err());
            while !fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
                std::thread::sleep(Duration::from_millis(2));
            }
            cancel.cancel();
            search.join().unwrap()
        });
        assert!(matches!(error, Error::Cancelled), "{error:?}");
        assert_is_gone(&pid);
    }
    let slow = AuthFiles { helper_timeout: Duration::from_secs(2), ..home.files(&[&one]) };
    assert!(slow.get("a.test", "x", &Cancel::new()).unwrap_err().full_message().contains("took too long"));
    assert_is_gone(&pid);
}

/// Waits for the end of the process whose number is in a file, and removes the file.
fn assert_is_gone(pid: &Path) {
    let process = Path::new("/proc").join(fs::read_to_string(pid).unwrap().trim());
    fs::remove_file(pid).unwrap();
    let is_there = || fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..500 {
        if !is_there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} runs on", process.display());
}

#[test]
fn a_missing_helper_is_ignored() {
    let home = Home::new();
    for content in [json!({ "credHelpers": { "a.test": "gone" } }), json!({ "credsStore": "gone" })] {
        let path = home.file("config.json", &content);
        assert_eq!(home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap(), None);
        // Without directories, helpers are searched in `PATH`.
        assert_eq!(AuthFiles::new(vec![path.clone()]).get("a.test", "x", &Cancel::new()).unwrap(), None);
        let other = home.file("auth.json", &json!({ "auths": { "a.test": entry("other") } }));
        assert_eq!(user(home.files(&[&path, &other]).get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "other");
    }
}

#[test]
fn a_failing_helper_is_an_error_unless_another_file_has_credentials() {
    let home = Home::new();
    home.helper("broken", "exit 3");
    let path = home.file("config.json", &json!({ "credHelpers": { "a.test": "broken" } }));
    let other = home.file("auth.json", &json!({ "auths": { "a.test": entry("other") } }));
    assert!(matches!(home.files(&[&path]).get("a.test", "x", &Cancel::new()), Err(Error::Helper { .. })));
    assert_eq!(user(home.files(&[&path, &other]).get("a.test", "x", &Cancel::new()).unwrap()).unwrap(), "other");
    assert_eq!(home.files(&[&path]).get("b.test", "x", &Cancel::new()).unwrap(), None);

    // `credsStore` is consulted for every registry, and most need no credentials.
    let path = home.file("config.json", &json!({ "credsStore": "broken" }));
    assert_eq!(home.files(&[&path]).get("a.test", "x", &Cancel::new()).unwrap(), None);
}

#[test]
fn a_client_uses_the_credentials_of_a_file() {
    let fixture = Fixture::new();
    fixture.registry.require(Auth::basic("ann", "pass"));
    let home = Home::new();
    let key = format!("{}/{NAME}", fixture.registry.host());
    let path =
        home.file("auth.json", &json!({ "auths": { key: entry("ann"), fixture.registry.host(): entry("bob") } }));
    let credentials = Arc::new(home.files(&[&path]));
    let client = Client::new(ClientOptions { credentials, ..options() }).unwrap();
    client.manifest(&fixture.reference()).unwrap();
}

#[test]
fn a_broken_file_is_an_error_only_if_credentials_are_needed() {
    let home = Home::new();
    fs::write(home.path("bad.json"), "{").unwrap();
    let credentials = Arc::new(home.files(&[&home.path("bad.json")]));
    let client = Client::new(ClientOptions { credentials, ..options() }).unwrap();
    let fixture = Fixture::new();
    client.manifest(&fixture.reference()).unwrap();
    fixture.registry.require(Auth::basic("ann", "pass"));
    assert!(matches!(client.manifest(&fixture.reference()), Err(Error::AuthFile { .. })));
}
