//! Explanations: their JSON and their text.

use serde_json::{Value, json};
use vmroot_config_files::{Configuration, Locations};
use vmroot_registry::Cancel;

use crate::home::Home;

const CONF: &str = "unqualified-search-registries=['quay.io','docker.io']\n\
    [[registry]]\nprefix='docker.io/library'\nlocation='hub.test/library'\ninsecure=true\n\
    [[registry.mirror]]\nlocation='one.test'\ninsecure=true\n\
    [[registry.mirror]]\nlocation='two.test/x'\npull-from-mirror='digest-only'\n\
    [[registry]]\nlocation='blocked.test'\nblocked=true\n[aliases]\nshort='docker.io/library/long'\n";

fn explain(locations: &Locations, name: &str) -> (Value, String) {
    let configuration = Configuration::new(locations.clone());
    let explanation = configuration.explain(name, &Cancel::new()).unwrap();
    (serde_json::to_value(&explanation).unwrap(), explanation.to_string())
}

#[test]
fn an_explanation_has_everything_but_the_secret() {
    let home = Home::new();
    let locations = home.with_conf(CONF);
    let auth =
        home.file("root/run/containers/0/auth.json", r#"{"auths":{"hub.test/library":{"auth":"YW5uOnNlY3JldA=="}}}"#);
    home.file("root/etc/containers/certs.d/hub.test/ca.crt", "");
    let (found, text) = explain(&locations, "docker.io/library/alpine:3");
    assert_eq!(
        found,
        json!({
            "reference": "docker.io/library/alpine:3",
            "prefix": "docker.io/library",
            "location": "hub.test/library",
            "blocked": false,
            "insecure": true,
            "mirrors": [
                {"location": "one.test", "insecure": true, "used": true, "reference": "one.test/alpine:3"},
                {"location": "two.test/x", "insecure": false, "used": false, "reference": null},
            ],
            "certificates": {
                "directory": home.path("root/etc/containers/certs.d/hub.test"),
                "authorities": [home.path("root/etc/containers/certs.d/hub.test/ca.crt")],
                "clients": [],
            },
            "credential": {"source": auth, "user": "ann", "kind": "password", "key": "hub.test/library"},
            "file": home.path("registries.conf"),
            "pulled_from": ["one.test/alpine:3", "hub.test/library/alpine:3"],
        })
    );
    for part in
        ["one.test (insecure)", "two.test/x (not used", "password of \"ann\"", "pulled from   one.test/alpine:3"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!found.to_string().contains("secret") && !text.contains("secret"));
}

#[test]
fn names_without_an_entry_blocked_names_and_short_names() {
    let home = Home::new();
    let locations = home.with_conf(CONF);
    let (found, text) = explain(&locations, "quay.io/x/y");
    assert_eq!((&found["reference"], &found["prefix"]), (&json!("quay.io/x/y:latest"), &Value::Null));
    assert_eq!((&found["location"], &found["credential"]), (&json!("quay.io"), &Value::Null));
    assert!(text.contains("entry         none") && text.contains("credential    none"), "{text}");

    let (found, text) = explain(&locations, "blocked.test/x");
    assert_eq!((&found["blocked"], &found["pulled_from"]), (&json!(true), &json!([])));
    assert!(text.contains("(blocked)"), "{text}");

    let (found, text) = explain(&locations, "short:1");
    assert_eq!(found["reference"], "docker.io/library/long:1");
    assert_eq!(found["short_name"]["by"], "alias");
    assert!(text.contains("by alias in"), "{text}");

    let (found, _) = explain(&locations, "other");
    let candidates = json!(["quay.io/other:latest", "docker.io/library/other:latest"]);
    assert_eq!((&found["short_name"]["candidates"], &found["short_name"]["prompt"]), (&candidates, &json!(true)));
}

#[test]
fn tls_verify_outranks_the_file() {
    let home = Home::new();
    let insecure = |tls_verify| {
        let configuration = Configuration::new(home.with_conf(CONF)).with_tls_verify(tls_verify);
        let found = configuration.explain("docker.io/library/alpine", &Cancel::new()).unwrap();
        (found.insecure, found.mirrors.iter().map(|mirror| mirror.insecure).collect::<Vec<_>>())
    };
    assert_eq!(insecure(None), (true, vec![true, false]));
    assert_eq!(insecure(Some(true)), (false, vec![false, false]));
    assert_eq!(insecure(Some(false)), (true, vec![true, true]));
}

/// A helper that fails is an error only for a caller that needs its answer. An explanation says so.
#[test]
fn errors_of_credentials_are_part_of_the_explanation() {
    let home = Home::new();
    home.helper("broken", "echo no keychain; exit 3");
    home.file("root/run/containers/0/auth.json", r#"{"credHelpers":{"quay.io":"broken"}}"#);
    let (found, text) = explain(&home.locations(), "quay.io/x");
    assert!(found["credential"]["error"].as_str().unwrap().contains("no keychain"), "{found}");
    assert!(text.contains("error: ") && text.contains("no keychain"), "{text}");
}
