//! Pulls through registries.conf: mirrors, blocked registries, short names, and where credentials go.

use std::net::TcpListener;

use serde_json::json;
use vmroot_testkit::registry::{Auth, Fault, Registry, Rule};

use crate::program::Program;
use crate::samples::{image, serve};

/// A program with a registries.conf of its own.
struct Configured {
    program: Program,
    options: Vec<String>,
}

impl Configured {
    fn new(conf: &str) -> Self {
        let program = Program::new();
        let conf = program.file("registries.conf", conf);
        let options = vec![
            format!("--registries-conf={}", conf.display()),
            format!("--registries-conf-dir={}", program.path("no-drop-ins").display()),
            format!("--sysroot={}", program.path("root").display()),
            "--retries=0".to_owned(),
        ];
        Self { program, options }
    }

    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let is_used = |option: &&String| match arguments[0] {
            "images" => false,
            "logout" => !option.starts_with("--retries"),
            _ => true,
        };
        let options = self.options.iter().filter(is_used);
        options.cloned().chain(arguments.iter().map(|it| (*it).to_owned())).collect()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.program.ok(self.arguments(arguments))
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        self.program.fails(code, self.arguments(arguments))
    }
}

/// Returns a registries.conf with one mirror of a whole registry.
fn mirrored(primary: &str, mirror: &str, keys: &str) -> String {
    format!("[[registry]]\nlocation='{primary}'\n{keys}\n[[registry.mirror]]\nlocation='{mirror}'\n")
}

/// Returns the user and password that were sent to a registry, each once. `None` stands for requests without any.
fn logins(registry: &Registry) -> Vec<Option<String>> {
    let mut logins: Vec<_> =
        registry.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    logins.sort();
    logins.dedup();
    logins
}

fn basic(pair: &str) -> Option<String> {
    let known = [("ann:primary", "YW5uOnByaW1hcnk="), ("bob:mirror", "Ym9iOm1pcnJvcg==")];
    known.iter().find(|(plain, _)| *plain == pair).map(|(_, encoded)| format!("Basic {encoded}"))
}

#[test]
fn a_mirror_is_used_first_and_then_the_registry() {
    let (primary, mirror) = (Registry::start(), Registry::start());
    let image = image("amd64");
    let reference = serve(&primary, &image, "v1");
    serve(&mirror, &image, "v1");
    let configured = Configured::new(&mirrored(&primary.host(), &mirror.host(), ""));
    let pull = ["pull", &reference, "--arch=amd64"];
    assert_eq!(configured.ok(&pull), format!("{}\n", image.config_digest));
    assert_eq!(primary.requests().len(), 0, "the mirror has the image");
    assert!(configured.ok(&["images"]).contains(&reference), "the image has the name that was asked for");

    // A layer that the mirror lacks comes from the registry.
    let configured = Configured::new(&mirrored(&primary.host(), &mirror.host(), ""));
    let layer = image.layers[0].digest;
    mirror.remove_blob(&layer);
    configured.ok(&pull);
    assert_eq!(primary.count(&layer.to_string()), 1);
    assert_eq!(primary.count("/manifests/"), 0);

    // So does an image whose mirror is away.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let configured = Configured::new(&mirrored(&primary.host(), &gone, ""));
    configured.ok(&pull);
    let missing = reference.replace(":v1", ":v2");
    let message = configured.fails(3, &["pull", &missing]);
    for part in [&*gone, "the connection was refused", &missing, "not found"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn mirrors_can_be_for_digests_only() {
    let (primary, mirror) = (Registry::start(), Registry::start());
    let image = image("amd64");
    let reference = serve(&primary, &image, "v1");
    serve(&mirror, &image, "v1");
    let configured = Configured::new(&mirrored(&primary.host(), &mirror.host(), "mirror-by-digest-only=true"));
    configured.ok(&["pull", &reference, "--arch=amd64"]);
    assert_eq!(mirror.requests().len(), 0);
    primary.clear_requests();
    let digested = reference.replace(":v1", &format!("@{}", image.manifest.digest));
    let fresh = Configured::new(&mirrored(&primary.host(), &mirror.host(), "mirror-by-digest-only=true"));
    fresh.ok(&["pull", &digested, "--arch=amd64"]);
    assert!(mirror.count("/manifests/") > 0 && primary.requests().is_empty());
}

#[test]
fn blocked_registries_are_not_asked_but_their_mirrors_are() {
    let (primary, mirror) = (Registry::start(), Registry::start());
    let image = image("amd64");
    let reference = serve(&primary, &image, "v1");
    let conf = mirrored(&primary.host(), &mirror.host(), "blocked=true");
    let message = Configured::new(&conf).fails(1, &["pull", &reference]);
    assert!(message.contains("is blocked in") && message.contains("registries.conf"), "{message}");
    serve(&mirror, &image, "v1");
    Configured::new(&conf).ok(&["pull", &reference, "--arch=amd64"]);
    assert_eq!(primary.requests().len(), 0);
}

/// Credentials of files go to their hosts only. Those of the command line go to the named registry only.
#[test]
fn credentials_reach_their_own_host_only() {
    let (primary, mirror) = (Registry::start(), Registry::start());
    let image = image("amd64");
    let reference = serve(&primary, &image, "v1");
    serve(&mirror, &image, "v1");
    primary.require(Auth::basic("ann", "primary"));
    mirror.require(Auth::basic("bob", "mirror"));
    let conf = mirrored(&primary.host(), &mirror.host(), "");
    let auth = |program: &Program, mirrors: bool| {
        let entry = |pair: &str| json!({"auth": basic(pair).unwrap().trim_start_matches("Basic ")});
        let mut auths = json!({primary.host(): entry("ann:primary")});
        if mirrors {
            auths[mirror.host()] = entry("bob:mirror");
        }
        program.file("auth.json", json!({ "auths": auths }).to_string()).display().to_string()
    };
    // Each: options, entry for the mirror, what the mirror gets, what the registry gets.
    let (ann, bob) = (basic("ann:primary"), basic("bob:mirror"));
    for (options, has_entry, to_mirror, to_primary) in [
        (&[][..], true, vec![None, bob.clone()], vec![]),
        (&[], false, vec![None], vec![None, ann.clone()]),
        (&["--username=ann", "--password=primary"], true, vec![None, bob], vec![]),
        (&["--username=ann", "--password=primary"], false, vec![None], vec![None, ann]),
        (&["--registry-token=tok"], false, vec![None], vec![None, Some("Bearer tok".to_owned())]),
        (&["--no-creds"], true, vec![None], vec![None]),
    ] {
        mirror.clear_requests();
        primary.clear_requests();
        let configured = Configured::new(&conf);
        let authfile = format!("--authfile={}", auth(&configured.program, has_entry));
        let arguments = [&["pull", &reference, "--arch=amd64", &authfile], options].concat();
        let done = configured.program.run(configured.arguments(&arguments));
        let may_fail = options.iter().any(|option| option.contains("token") || option.contains("no-creds"));
        assert!(may_fail || done.status.success(), "{options:?}: {done}");
        assert_eq!(logins(&mirror), to_mirror, "the mirror, {options:?} {has_entry}");
        assert_eq!(logins(&primary), to_primary, "the registry, {options:?} {has_entry}");
    }
}

#[test]
fn short_names_are_aliases_or_searched() {
    let (one, two) = (Registry::start(), Registry::start());
    let image = image("amd64");
    let reference = serve(&two, &image, "v1");
    let repository = reference.trim_end_matches(":v1");
    let alias = Configured::new(&format!("[aliases]\nshort='{repository}'\n"));
    alias.ok(&["pull", "short:v1", "--arch=amd64"]);
    assert!(alias.ok(&["images"]).contains(&reference));
    two.clear_requests();
    assert_eq!(alias.ok(&["cat", "short:v1", "etc/motd"]), "amd64\n");
    assert_eq!(two.requests().len(), 0, "the name is found in the cache");

    let conf = format!("unqualified-search-registries=['{}','{}']\n", one.host(), two.host());
    let name = "test/image:v1";
    let searched = Configured::new(&conf);
    searched.ok(&["pull", name, "--arch=amd64"]);
    assert!(one.count("/manifests/") > 0 && searched.ok(&["images"]).contains(&reference));
    let message = searched.fails(3, &["pull", "test/image:gone"]);
    assert!(message.contains(&one.host()) && message.contains(&two.host()), "{message}");

    let enforcing = Configured::new(&format!("{conf}short-name-mode='enforcing'\n"));
    let message = enforcing.fails(2, &["pull", name]);
    assert!(message.contains(&one.host()) && message.contains("enforcing"), "{message}");
    // `docker://` names are never short.
    let explained = searched.ok(&["--json", "registries", "explain", "docker://test/image"]);
    assert!(explained.contains("\"docker.io/test/image:latest\""), "{explained}");
}

#[test]
fn registries_explain_prints_one_object_without_secrets() {
    let conf =
        "[[registry]]\nprefix='a.test/x'\nlocation='b.test/y'\ninsecure=true\n[[registry.mirror]]\nlocation='m.test'\n";
    let configured = Configured::new(conf);
    let explained = |options: &[&str]| -> serde_json::Value {
        let arguments = [&["--json", "registries", "explain", "a.test/x/image:1"], options].concat();
        serde_json::from_str(&configured.ok(&arguments)).unwrap()
    };
    let found = explained(&["--creds=ann:primary"]);
    assert_eq!(found["credential"], json!({"source": "--creds", "user": "ann", "kind": "password"}));
    for (key, value) in [
        ("reference", json!("a.test/x/image:1")),
        ("prefix", json!("a.test/x")),
        ("location", json!("b.test/y")),
        ("blocked", json!(false)),
        ("insecure", json!(true)),
        ("certificates", json!(null)),
        ("mirrors", json!([{"location": "m.test", "insecure": false, "used": true, "reference": "m.test/image:1"}])),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    assert!(!found.to_string().contains("primary"));
    assert_eq!(explained(&["--tls-verify=true"])["insecure"], false);
    assert_eq!(explained(&["--no-creds"])["credential"], json!(null));
    let text = configured.ok(&["registries", "explain", "a.test/x/image:1"]);
    assert!(text.contains("m.test") && text.contains("pulled from   b.test/y/image:1"), "{text}");
    for name in ["UPPER", "docker://UPPER", "oci:layout:tag", "vmroot:x", ""] {
        configured.fails(2, &["registries", "explain", name]);
    }
    let broken = Configured::new("[[registry]]\n");
    let message = broken.fails(1, &["registries", "explain", "a.test/x"]);
    assert!(message.contains("registries.conf") && message.contains("neither"), "{message}");
    // Commands that reach no registry do not read the file.
    broken.ok(&["images"]);
}

#[test]
fn login_checks_and_stores_credentials() {
    let registry = Registry::start();
    serve(&registry, &image("amd64"), "v1");
    registry.require(Auth::basic("ann", "primary"));
    let configured = Configured::new("");
    let host = registry.host();
    let file = configured.program.path("auth.json").display().to_string();
    let authfile = format!("--authfile={file}");
    let login = ["login", "-u", "ann", "--password-stdin", &host, &authfile];
    let wrong = configured.program.run_with_input(configured.arguments(&login), b"wrong\n");
    assert_eq!(wrong.status.code(), Some(4), "{wrong}");
    assert!(!configured.program.path("auth.json").exists(), "nothing is stored");
    let right = configured.program.run_with_input(configured.arguments(&login), b"primary\n");
    assert_eq!(right.ok(), "Login Succeeded!\n");
    assert_eq!(configured.ok(&["login", "--get-login", &host, &authfile]), "ann\n");
    configured.ok(&["pull", &format!("{host}/test/image:v1"), "--arch=amd64", &authfile]);
    let again = configured.ok(&["login", &host, &authfile]);
    assert!(again.contains("Already logged in"), "{again}");
    assert!(wrong.stderr.contains(&format!("cannot log in to {host}")), "{wrong}");
    assert!(!wrong.stderr.contains("vmroot login"), "the hint is not the command that failed: {wrong}");
    assert!(configured.ok(&["logout", &host, &authfile]).contains(&host));
    for arguments in [&["logout", &host, &authfile][..], &["login", "--get-login", &host, &authfile]] {
        let message = configured.fails(3, arguments);
        assert!(message.contains("not logged into"), "{message}");
    }
    configured.ok(&["login", "-u=ann", "-p=primary", &host, &authfile]);
    let removed: serde_json::Value =
        serde_json::from_str(&configured.ok(&["logout", "--json", &host, &authfile])).unwrap();
    assert_eq!(removed, json!({ "registry": host }));
    configured.ok(&["login", "-u=ann", "-p=primary", &host, &authfile]);
    configured.ok(&["logout", "--all", &authfile]);
    configured.fails(3, &["login", "--get-login", &host, &authfile]);
    for arguments in [
        &["login"][..],
        &["login", &host, &authfile],
        &["login", "-u", "ann", &host, &authfile],
        &["login", "--password-stdin", &host],
        &["logout"],
        &["login", "-u=a", "-p=b", "host/x:tag"],
    ] {
        configured.fails(2, arguments);
    }
}

#[test]
fn mirrors_that_do_not_answer_are_named() {
    let primary = Registry::start();
    let image = image("amd64");
    let reference = serve(&primary, &image, "v1");
    // It accepts connections and never answers. The listener stays open to the end of the test.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent_host, broken) = (silent.local_addr().unwrap().to_string(), Registry::start());
    broken.misbehave(Rule::on("").fault(Fault::Status(503, vec![], String::new())));
    let mirror = |host: &str| format!("[[registry.mirror]]\nlocation='{host}'\n");
    let configured = Configured::new(&(mirrored(&primary.host(), &silent_host, "") + &mirror(&broken.host())));
    let timeout = "--inactivity-timeout=1";
    let output = configured.program.run(configured.arguments(&["pull", &reference, "--arch=amd64", timeout]));
    let notes = output.stderr.clone();
    output.ok();
    for part in [&silent_host, &broken.host(), "sent nothing for 1000 ms", "503", "trying"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    // The error has all causes.
    let missing = reference.replace(":v1", ":v2");
    let message = configured.fails(3, &["pull", &missing, timeout]);
    for part in [&silent_host, &broken.host(), "sent nothing for 1000 ms", "503", &missing, "not found"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
