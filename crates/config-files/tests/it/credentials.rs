//! The search for credentials, over helpers and files.

use std::fs;

use vmroot_config_files::{Locations, check_key};
use vmroot_registry::{Cancel, Credential, CredentialSource};
use vmroot_testkit::FullMessage as _;

use crate::home::{Home, configuration};

/// Returns `user:password` for a key.
fn find(locations: &Locations, key: &str) -> Option<String> {
    let (domain, repository) = key.split_once('/').unwrap_or((key, ""));
    let found = configuration(locations.clone()).find_credential(domain, repository, &Cancel::new()).unwrap();
    found.map(|found| match found.credential {
        Credential::Password { user, password } => format!("{user}:{password}"),
        Credential::IdentityToken(token) => format!("identity {token}"),
        Credential::RegistryToken(token) => format!("registry {token}"),
    })
}

const FULL: &str = r#"{"auths": {
    "example.org": {"auth": "ZXhhbXBsZTpvcmc="},
    "index.docker.io": {"auth": "aW5kZXg6ZG9ja2VyLmlv"},
    "docker.io": {"auth": "ZG9ja2VyOmlv"},
    "localhost": {"auth": "bG9jYWw6aG9zdA=="},
    "localhost:5000": {"auth": "bG9jYWw6aG9zdC01MDAw"},
    "10.10.30.45": {"auth": "MTAuMTA6MzAuNDU="},
    "10.10.30.45:5000": {"auth": "MTAuMTA6MzAuNDUtNTAwMA=="},
    "https://normalize.example.org/v1": {"auth": "bm9ybWFsaXplOmV4YW1wbGU="}
}}"#;

const ABNORMAL: &str = r#"{"auths": {
    "example.org": {"auth": "ZXhhbXBsZTpvcmc="},
    "https://index.docker.io/v1": {"auth": "aW5kZXg6ZG9ja2VyLmlv"},
    "https://127.0.0.1:5000": {"auth": "MTI3LjA6MC4xLTUwMDA="},
    "http://localhost": {"auth": "bG9jYWw6aG9zdA=="},
    "https://localhost:5001": {"auth": "bG9jYWw6aG9zdC01MDAx"},
    "localhost:5000": {"auth": "bG9jYWw6aG9zdC01MDAw"}
}}"#;

const PATHS: &str = r#"{"auths": {
    "example.org/repo": {"auth": "ZXhhbXBsZTpvcmc="},
    "example.org": {"auth": "bG9jYWw6aG9zdA=="},
    "docker.io/vendor": {"auth": "Zmlyc3Q6bGV2ZWw="},
    "docker.io": {"auth": "dG9wOmxldmVs"},
    "docker.io/library/busybox": {"auth": "bGlicmFyeTpidXN5Ym94"},
    "docker.io/library": {"auth": "bGlicmFyeTpvdGhlcg=="}
}}"#;

#[test]
fn keys_of_files() {
    let both = ["run/containers/auth.json", "home/.docker/config.json"];
    for (text, key, expected) in [
        ("{}", "index.docker.io", None),
        (FULL, "example.org", Some("example:org")),
        (FULL, "notthere.example.org", None),
        (FULL, "docker.io", Some("docker:io")),
        (FULL, "docker.io/library/x", Some("docker:io")),
        (FULL, "localhost", Some("local:host")),
        (FULL, "localhost:5000", Some("local:host-5000")),
        (FULL, "localhost:5001", None),
        (FULL, "10.10.30.45:5000", Some("10.10:30.45-5000")),
        (FULL, "normalize.example.org", Some("normalize:example")),
        (FULL, "normalize.example.org/ns/x", Some("normalize:example")),
        (ABNORMAL, "docker.io", Some("index:docker.io")),
        (ABNORMAL, "127.0.0.1:5000", Some("127.0:0.1-5000")),
        (ABNORMAL, "localhost", Some("local:host")),
        (ABNORMAL, "localhost:5001", Some("local:host-5001")),
        (PATHS, "example.org/repo/image", Some("example:org")),
        (PATHS, "example.org/repo", Some("example:org")),
        (PATHS, "example.org/image", Some("local:host")),
        (PATHS, "docker.io/library/busybox", Some("library:busybox")),
        (PATHS, "docker.io/library/notbusybox", Some("library:other")),
        (PATHS, "docker.io/vendor/product", Some("first:level")),
        (PATHS, "docker.io/vendor", Some("first:level")),
        (PATHS, "docker.io/other-vendor/other-product", Some("top:level")),
        (r#"{"auths":{"quay.io/foo":{"auth":"dTpw"}}}"#, "quay.io/bar", None),
        (r#"{"auths":{"quay.io/foo":{"auth":"dTpw"}}}"#, "quay.io", None),
        (r#"{"auths":{"https://quay.io/v1/":{"auth":"dTpw"}}}"#, "quay.io/foo", Some("u:p")),
        (
            r#"{"auths":{"example.org":{"auth":"MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==","identitytoken":"some very long identity token"}}}"#,
            "example.org",
            Some("identity some very long identity token"),
        ),
    ] {
        for file in both {
            let home = Home::new();
            home.file(file, text);
            let mut locations = home.locations();
            locations.root = None;
            locations.registries_conf_dir = Some(home.path("none"));
            locations.registries_conf = Some(home.file("registries.conf", ""));
            locations.runtime_dir = Some(home.path("run"));
            fs::create_dir_all(home.path("run")).unwrap();
            assert_eq!(find(&locations, key).as_deref(), expected, "{key} in {file}");
        }
    }
}

/// Writes files one by one, from the last to the first of the order.
#[test]
fn the_order_of_files() {
    let home = Home::new();
    let mut locations = home.locations();
    locations.uid = 1234;
    let auths = |user: &str| {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:p"));
        format!(r#"{{"auths": {{"a.test": {{"auth": "{auth}"}}}}}}"#)
    };
    assert_eq!(find(&locations, "a.test"), None);
    home.file("home/.dockercfg", r#"{"https://a.test/v1/": {"auth": "b2xkOnA="}}"#);
    assert_eq!(find(&locations, "a.test/ns/x").as_deref(), Some("old:p"));
    home.file("home/.docker/config.json", &auths("docker"));
    assert_eq!(find(&locations, "a.test").as_deref(), Some("docker:p"));
    home.file("home/.config/containers/auth.json", &auths("config"));
    assert_eq!(find(&locations, "a.test").as_deref(), Some("config:p"));
    home.file("root/run/containers/1234/auth.json", &auths("run"));
    assert_eq!(find(&locations, "a.test").as_deref(), Some("run:p"));

    let other =
        Locations { docker_config: Some(home.path("dc")), config_home: Some(home.path("xdg")), ..locations.clone() };
    fs::remove_file(home.path("root/run/containers/1234/auth.json")).unwrap();
    home.file("dc/config.json", &auths("dc"));
    assert_eq!(find(&other, "a.test").as_deref(), Some("dc:p"));
    home.file("xdg/containers/auth.json", &auths("xdg"));
    assert_eq!(find(&other, "a.test").as_deref(), Some("xdg:p"));

    // A file that the user names is the only one, even if it is missing.
    for field in ["auth_file", "compat_auth_file"] {
        let mut named = other.clone();
        let slot = if field == "auth_file" { &mut named.auth_file } else { &mut named.compat_auth_file };
        *slot = Some(home.path("missing.json"));
        assert_eq!(find(&named, "a.test"), None, "{field}");
    }

    // A runtime directory that does not exist is skipped.
    let gone = Locations { root: None, runtime_dir: Some(home.path("gone")), ..other };
    let gone = Locations {
        registries_conf: Some(home.file("empty.conf", "")),
        registries_conf_dir: Some(home.path("none")),
        ..gone
    };
    assert_eq!(find(&gone, "a.test").as_deref(), Some("xdg:p"));
}

const HELPER: &str = r#"case "$1 $input" in
    "get registry-a.com") echo '{"ServerURL":"registry-a.com","Username":"foo","Secret":"bar"}' ;;
    "get registry-b.com") echo '{"ServerURL":"registry-b.com","Username":"<token>","Secret":"fizzbuzz"}' ;;
    "get registry-no-creds.com") echo "credentials not found in native keychain"; exit 1 ;;
    *) echo '{}' ;;
esac"#;

#[test]
fn helpers_of_registries_conf() {
    let home = Home::new();
    home.helper("helper-registry", HELPER);
    let only = home.with_conf("credential-helpers = ['helper-registry']\n");
    home.file("root/run/containers/0/auth.json", FULL);
    assert_eq!(find(&only, "registry-a.com/ns/x").as_deref(), Some("foo:bar"));
    assert_eq!(find(&only, "registry-b.com").as_deref(), Some("identity fizzbuzz"));
    assert_eq!(find(&only, "registry-no-creds.com"), None);
    // Files are not read, because the list does not name them.
    let cancel = Cancel::new();
    let error = configuration(only).find_credential("example.org", "", &cancel).unwrap_err();
    assert!(error.full_message().contains("docker-credential-helper-registry"), "{error}");
    // Namespaces are not passed to helpers.
    assert_eq!(home.requests("helper-registry")[0], "get registry-a.com");

    let both = home.with_conf("credential-helpers = ['containers-auth.json', 'missing', 'helper-registry']\n");
    assert_eq!(find(&both, "example.org").as_deref(), Some("example:org"));
    assert_eq!(find(&both, "registry-a.com").as_deref(), Some("foo:bar"));
    let found = configuration(both).find_credential("registry-a.com", "", &cancel).unwrap().unwrap();
    let program = "docker-credential-helper-registry".to_owned();
    assert_eq!(found.source, CredentialSource::Helper { program, file: None });
}

/// A helper of a file is in place of the rest of that file, but not of the files after it.
#[test]
fn helpers_of_files() {
    let home = Home::new();
    home.helper("helper-registry", HELPER);
    home.file(
        "root/run/containers/0/auth.json",
        r#"{"credHelpers": {"registry-no-creds.com": "helper-registry", "registry-a.com": "helper-registry"},
            "auths": {"registry-no-creds.com": {"auth": "bm86bm8="}, "registry-a.com/ns": {"auth": "bm86bm8="}}}"#,
    );
    let locations = home.locations();
    assert_eq!(find(&locations, "registry-no-creds.com"), None);
    assert_eq!(find(&locations, "registry-a.com/ns/x").as_deref(), Some("foo:bar"));
    home.file("home/.docker/config.json", r#"{"auths": {"registry-no-creds.com": {"auth": "dTpw"}}}"#);
    assert_eq!(find(&locations, "registry-no-creds.com").as_deref(), Some("u:p"));
}

#[test]
fn broken_files_are_errors() {
    for file in ["root/run/containers/0/auth.json", "home/.dockercfg"] {
        let home = Home::new();
        home.file(file, "Json rocks! Unless it doesn't.");
        let error = configuration(home.locations()).find_credential("index.docker.io", "", &Cancel::new()).unwrap_err();
        let message = error.full_message();
        assert!(message.contains(file.rsplit('/').next().unwrap()) && message.contains("line 1"), "{message}");
    }
}

#[test]
fn keys_are_registries_and_repositories() {
    for key in ["https://my-registry.local", "host/foo:tag", "host/foo@digest", "localhost:5000/repo:tag", "", "/x"] {
        assert!(check_key(key).is_err(), "{key}");
    }
    for (key, is_namespaced) in [
        ("my-registry.local", false),
        ("my-registry.local/path", true),
        ("quay.io/a/b/c/d", true),
        ("localhost:5000", false),
        ("localhost:5000/repo", true),
    ] {
        assert_eq!(check_key(key).unwrap(), is_namespaced, "{key}");
    }
}
