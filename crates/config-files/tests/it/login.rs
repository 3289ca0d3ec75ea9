//! Changes to credential files and helpers.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;
use vmroot_config_files::{Error, Locations, StoredIn};
use vmroot_registry::{Cancel, Credential};

use crate::home::{Home, configuration, mode};

fn store(locations: &Locations, key: &str, user: &str) -> vmroot_config_files::Result<StoredIn> {
    configuration(locations.clone()).store_credential(key, user, "pass", &Cancel::new())
}

fn erase(locations: &Locations, key: &str) -> vmroot_config_files::Result<()> {
    configuration(locations.clone()).erase_credential(key, &Cancel::new())
}

fn user(locations: &Locations, key: &str) -> Option<String> {
    let (domain, repository) = key.split_once('/').unwrap_or((key, ""));
    let found = configuration(locations.clone()).find_credential(domain, repository, &Cancel::new()).unwrap();
    found.map(|found| match found.credential {
        Credential::Password { user, password } => {
            assert_eq!(password, "pass");
            user
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn credentials_are_set_replaced_and_removed() {
    for keys in [
        &["quay.io"][..],
        &["quay.io/a/b/c/d/image"],
        &["quay.io/a/b/c", "quay.io/a/b", "quay.io/a", "quay.io", "my-registry.local", "my-registry.local"],
        &[
            "docker.io",
            "docker.io/vendor/product",
            "docker.io/vendor",
            "docker.io/library/busybox",
            "docker.io/library",
        ],
    ] {
        let home = Home::new();
        let locations = home.locations();
        let path = home.path("root/run/containers/0/auth.json");
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(store(&locations, key, &number.to_string()).unwrap(), StoredIn::File(path.clone()));
        }
        let last = |key: &str| keys.iter().rposition(|it| *it == key).unwrap().to_string();
        for key in keys {
            assert_eq!(user(&locations, key), Some(last(key)), "{key}");
        }
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let first = keys[0];
        erase(&locations, first).unwrap();
        assert!(matches!(erase(&locations, first), Err(Error::NotLoggedIn { .. })));
        for key in keys.iter().filter(|key| **key != first) {
            assert_eq!(user(&locations, key), Some(last(key)), "{key} after {first}");
        }
    }
}

#[test]
fn a_namespace_is_not_its_registry() {
    let home = Home::new();
    let locations = home.locations();
    store(&locations, "quay.io", "u").unwrap();
    assert!(matches!(erase(&locations, "quay.io/user/image"), Err(Error::NotLoggedIn { .. })));
    assert_eq!(user(&locations, "quay.io").as_deref(), Some("u"));
    for key in ["https://quay.io", "quay.io/x:1", "quay.io/x@sha256:1"] {
        assert!(matches!(store(&locations, key, "u"), Err(Error::Key { .. })), "{key}");
    }
}

#[test]
fn other_content_of_the_file_stays() {
    let home = Home::new();
    let text = "{\n    \"psFormat\": \"x\",\n    \"auths\": {\n        \"unmodified.example\": { \"identitytoken\": \"identity\", \"x\": 1.50 }\n    },\n    \"credHelpers\": { \"helper.example\": \"name\" },\n    \"HttpHeaders\": {\"B\":\"1\",\"A\":\"2\"}\n}\n";
    let path = home.file("config.json", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let locations = Locations { compat_auth_file: Some(path.clone()), ..home.locations() };
    store(&locations, "docker.io", "u").unwrap();
    let changed = fs::read_to_string(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let entry = "{ \"identitytoken\": \"identity\", \"x\": 1.50 }";
    let added = ",\n        \"https://index.docker.io/v1/\": {\n            \"auth\": \"dTpwYXNz\"\n        }";
    assert_eq!(changed, text.replace(entry, &format!("{entry}{added}")).trim_end());
    assert_eq!(user(&locations, "docker.io/library/x").as_deref(), Some("u"));
    erase(&locations, "docker.io").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text.trim_end());
    let error = store(&locations, "example.com/ns", "u").unwrap_err();
    assert!(matches!(error, Error::Key { .. }), "{error:?}");
}

#[test]
fn files_in_any_state_are_changed_or_refused() {
    let home = Home::new();
    let path = home.path("auth.json");
    let locations = Locations { auth_file: Some(path.clone()), ..home.locations() };
    for text in [
        "",
        " \n",
        "{}",
        "\u{feff}{ }",
        "{\"auths\": null}",
        "{\"auths\":{}}",
        "{\"x\":1}",
        "{\"auths\":{\"a.test\":{}},\"x\":[]}",
    ] {
        fs::write(&path, text).unwrap();
        store(&locations, "a.test", "u").unwrap();
        store(&locations, "b.test", "v").unwrap();
        let parsed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(parsed["auths"].as_object().unwrap().len(), 2, "{text:?}");
        assert_eq!(parsed["auths"]["a.test"]["auth"], "dTpwYXNz", "{text:?}");
        assert_eq!(parsed.get("x").is_some(), text.contains('x'), "{text:?}");
    }
    for text in ["[]", "{", "{\"auths\": []}", "text"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(store(&locations, "a.test", "u"), Err(Error::Credentials(_))), "{text:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn links_are_followed() {
    let home = Home::new();
    let path = home.file("real/auth.json", "{}");
    symlink(&path, home.path("link.json")).unwrap();
    let locations = Locations { auth_file: Some(home.path("link.json")), ..home.locations() };
    store(&locations, "a.test", "u").unwrap();
    assert!(fs::symlink_metadata(home.path("link.json")).unwrap().is_symlink());
    assert!(fs::read_to_string(path).unwrap().contains("a.test"));
}

#[test]
fn the_written_file_is_the_one_that_is_named() {
    let home = Home::new();
    let locations = home.locations();
    let file = |locations: &Locations| match store(locations, "a.test", "u") {
        Ok(StoredIn::File(path)) => path.strip_prefix(home.path("")).unwrap().display().to_string(),
        other => panic!("{other:?}"),
    };
    let runtime = Locations { root: None, runtime_dir: Some(home.path("runtime")), ..home.with_conf("") };
    assert!(matches!(store(&runtime, "a.test", "u"), Err(Error::Options(_))), "the directory is missing");
    fs::create_dir(home.path("runtime")).unwrap();
    assert_eq!(file(&runtime), "runtime/containers/auth.json");
    assert_eq!(file(&Locations { docker_config: Some(home.path("dc")), ..runtime.clone() }), "dc/config.json");
    let named = Locations { auth_file: Some(home.path("named.json")), ..locations };
    assert_eq!(file(&named), "named.json");
    let both = Locations { compat_auth_file: Some(home.path("x.json")), ..named };
    assert!(matches!(store(&both, "a.test", "u"), Err(Error::Options(_))));
}

const KEEPER: &str = r#"file="$0.kept"
case "$1" in
    store) echo "$input" >"$file" ;;
    erase) if [ -f "$file" ]; then rm "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
    list) if [ -f "$file" ]; then echo '{"a.test":"u"}'; else echo '{}'; fi ;;
    get) if [ -f "$file" ]; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
esac"#;

#[test]
fn helpers_store_and_erase() {
    let home = Home::new();
    home.helper("keeper", KEEPER);
    let in_file = home.locations();
    let path = home.file("root/run/containers/0/auth.json", r#"{"credHelpers": {"a.test": "keeper"}}"#);
    let by_conf = home.with_conf("credential-helpers = ['keeper']\n");
    for locations in [&in_file, &by_conf] {
        assert_eq!(store(locations, "a.test", "u").unwrap(), StoredIn::Helper("keeper".to_owned()));
        assert_eq!(user(locations, "a.test").as_deref(), Some("u"));
        assert!(matches!(store(locations, "a.test/ns", "u"), Err(Error::Key { .. })) || *locations == in_file);
        erase(locations, "a.test").unwrap();
        assert!(matches!(erase(locations, "a.test"), Err(Error::NotLoggedIn { .. })));
    }
    assert!(fs::read_to_string(&path).unwrap().contains("credHelpers"));
    store(&by_conf, "a.test", "u").unwrap();
    configuration(by_conf.clone()).erase_all_credentials(&Cancel::new()).unwrap();
    assert_eq!(user(&by_conf, "a.test"), None);

    store(&in_file, "a.test", "u").unwrap();
    store(&in_file, "b.test", "u").unwrap();
    configuration(in_file.clone()).erase_all_credentials(&Cancel::new()).unwrap();
    assert_eq!((user(&in_file, "a.test"), user(&in_file, "b.test")), (None, None));
    assert!(home.requests("keeper").iter().any(|request| request == "erase a.test"));

    let missing = home.with_conf("credential-helpers = ['missing']\n");
    assert!(store(&missing, "a.test", "u").is_err());
}

/// Docker keeps the secret in its store, and an empty entry in the file.
#[test]
fn dockers_store_is_used_for_dockers_file() {
    let home = Home::new();
    home.helper("keeper", KEEPER);
    let path = home.file("config.json", r#"{"credsStore":"keeper"}"#);
    let locations = Locations { compat_auth_file: Some(path.clone()), ..home.locations() };
    assert_eq!(store(&locations, "a.test", "u").unwrap(), StoredIn::Helper("keeper".to_owned()));
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"credsStore":"keeper","auths":{"a.test":{}}}"#);
    assert_eq!(user(&locations, "a.test").as_deref(), Some("u"));
    erase(&locations, "a.test").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"credsStore":"keeper","auths":{}}"#);
    // podman ignores the store of its own file.
    let locations = Locations { auth_file: Some(path), ..home.locations() };
    assert!(matches!(store(&locations, "a.test", "u").unwrap(), StoredIn::File(_)));
}

/// Both credentials are there afterwards.
#[test]
fn two_logins_at_the_same_time() {
    let home = Home::new();
    let locations = home.locations();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let locations = &locations;
            scope.spawn(move || store(locations, &format!("{number}.test"), "u").unwrap());
        }
    });
    for number in 0..8 {
        assert_eq!(user(&locations, &format!("{number}.test")).as_deref(), Some("u"));
    }
}
