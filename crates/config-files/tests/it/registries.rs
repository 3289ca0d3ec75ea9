//! registries.conf: parsing, merging, the choice of an entry, and rewriting.

use std::fs;

use vmroot_config_files::{Error, Locations, Registries, Resolution, ShortNameMode};
use vmroot_model::Reference;
use vmroot_testkit::FullMessage as _;

use crate::home::{Home, parse};

const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// Returns the location of the entry for a name.
fn location(registries: &Registries, name: &str) -> Option<String> {
    registries.find(name).map(|registry| registry.location.clone())
}

const FIND: &str = r#"
    [[registry]]
    location = "registry.com:5000"
    prefix = "simple-prefix.com"
    [[registry]]
    location = "another-registry.com:5000"
    prefix = "complex-prefix.com:4000/with/path"
    [[registry]]
    location = "registry.com:5000"
    prefix = "another-registry.com"
    [[registry]]
    location = "no-prefix.com"
    [[registry]]
    location = "empty-prefix.com"
    prefix = ""
    [[registry]]
    location = "subdomain-prefix.com"
    prefix = "*.so.simple-prefix.com"
    [[registry]]
    location = "subdomain-prefix-2.com"
    prefix = "*.simple-prefix.com"
    [[registry]]
    location = "subdomain-prefix-1.com"
    prefix = "*.not.quite.simple-prefix.com"
    [[registry]]
    location = "subdomain-prefix-2.com"
    prefix = "*.docker.io"
    [[registry]]
    location = "subdomain-prefix-3.com"
    prefix = "*.bar.example.com"
    [[registry]]
    location = "subdomain-prefix-4.com"
    prefix = "*.bar.docker.io"
    [[registry]]
    location = "subdomain-prefix-5.com"
    prefix = "foo.bar.example.com:5000"
    [[registry]]
    prefix = "*.internal.registry.com"
    [[registry]]
    prefix = "*.com"
    [[registry]]
    prefix = "*.foobar.io"
"#;

#[test]
fn the_longest_prefix_decides() {
    let home = Home::new();
    let dropped = |name: &str, prefix: &str| {
        home.file(&format!("d/{name}.conf"), &format!("[[registry]]\nlocation='{name}.com'\nprefix='{prefix}'\n"));
    };
    dropped("one", "*.not.quite.simple-prefix.com");
    dropped("two", "*.docker.com");
    dropped("three", "*.bar.example.com");
    home.file("d/z.ignore", "not TOML");
    let locations = Locations { registries_conf_dir: Some(home.path("d")), ..home.with_conf(FIND) };
    let registries = Registries::load(&locations).unwrap();
    assert_eq!(registries.entries().len(), 16);
    for (name, expected) in [
        ("simple-prefix.com/foo/bar:latest", Some("registry.com:5000")),
        ("simple-prefix.com/", Some("registry.com:5000")),
        ("simple-prefix.com", Some("registry.com:5000")),
        ("not.so.simple-prefix.com/", Some("subdomain-prefix.com")),
        ("not.quite.simple-prefix.com/", Some("subdomain-prefix-2.com")),
        ("not.quite.simple-prefix.com:5000/with/path/and/beyond:tag", Some("subdomain-prefix-2.com")),
        ("really.not.quite.simple-prefix.com:5000/with/path:tag", Some("one.com")),
        ("foo.docker.io:5000/omg/wtf/bbq:foo", Some("subdomain-prefix-2.com")),
        ("foo.bar.example.com:6000/omg/wtf/bbq", Some("three.com")),
        ("foo.bar.docker.io:5000/omg/wtf/bbq:foo", Some("subdomain-prefix-4.com")),
        ("foo.bar.example.com:5000/omg/wtf/bbq:foo", Some("subdomain-prefix-5.com")),
        ("simple-prefix.comx", None),
        ("complex-prefix.com:4000/with/path/and/beyond:tag", Some("another-registry.com:5000")),
        ("no-prefix.com/foo:tag", Some("no-prefix.com")),
        ("empty-prefix.com/foo:tag", Some("empty-prefix.com")),
        ("other.com/foo:tag", Some("")),
    ] {
        assert_eq!(location(&registries, name).as_deref(), expected, "{name}");
    }
}

/// The table of refMatchingPrefix and refMatchingSubdomainPrefix, as one entry each.
#[test]
fn prefixes_match_whole_parts() {
    for (name, prefix, matches) in [
        ("docker.io", "docker.io", true),
        ("docker.io", "example.com", false),
        ("example.com:5000", "example.com:5000", true),
        ("example.com:50000", "example.com:5000", false),
        ("example.com:5000", "example.com", true),
        ("example.com/foo/bar:baz", "example.com", true),
        ("docker.io", "docker.io/library", false),
        ("docker.io/library", "docker.io/library", true),
        ("example.com/library", "docker.io/library", false),
        ("docker.io/libraryy", "docker.io/library", false),
        ("docker.io/library/busybox", "docker.io/library/busybox", true),
        ("docker.io/library/busybox2", "docker.io/library/busybox", false),
        ("example.com/foo", "example.com/foo:bar", false),
        ("example.com/foo:bar", "example.com/foo:bar", true),
        ("example.com/foo:bar2", "example.com/foo:bar", false),
        ("example.com/foo", "*", false),
        ("docker.io", "*.io", true),
        ("docker.io/foo", "*.com", false),
        ("example.com/foo", "*.co", false),
        ("example.com/foo", "*.example.com", false),
        ("example.com/foo/bar:baz", "*.com", true),
        ("yet.another.example.com/foo", "**.example.com", false),
        ("yet.another.example.com/foo", "***.another.example.com", false),
        ("yet.another.example.com/foo/bar", "*.another.example.com", true),
        ("another.example.com/namespace.com/foo/bar/bbq:baz", "*.example.com", true),
        ("example.net/namespace-ends-in.com/foo/bar/bbq:baz", "*.com", false),
        ("another.example.com/namespace.com/foo/bar/bbq:baz", "*.namespace.com", false),
        ("another.sub.example.com/foo/bar/bbq:baz", "*.example.com", true),
        ("yet.another.sub.example.com/foo/bar@sha256:aa", "*.sub.example.com", true),
    ] {
        let registries = parse(&format!("[[registry]]\nprefix='{prefix}'\nlocation='x.test'\n")).unwrap();
        assert_eq!(registries.find(name).is_some(), matches, "{name} {prefix}");
    }
}

#[test]
fn a_location_replaces_the_prefix() {
    let digested = format!("example.com/foo@sha256:{HEX}");
    let odd = format!("alien.vs.predator.foobar.io:5000/foo@sha256:{HEX}");
    for (name, prefix, location, expected) in [
        ("example.com/image", "example.com", "example.com", "example.com/image"),
        ("example.com/image:latest", "example.com", "example.com", "example.com/image:latest"),
        ("example.com:5000/image:latest", "example.com:5000", "example.com:5000", "example.com:5000/image:latest"),
        (&digested, "example.com", "example.com", &digested),
        ("example.com/foo/image:latest", "example.com/foo", "example.com", "example.com/image:latest"),
        ("example.com/foo/image:latest", "example.com/foo", "example.com/path", "example.com/path/image:latest"),
        ("docker.io/library/image:latest", "docker.io", "docker.io", "docker.io/library/image:latest"),
        ("docker.io/library/image", "docker.io/library", "example.com", "example.com/image"),
        ("docker.io/library/image", "docker.io", "example.com", "example.com/library/image"),
        ("docker.io/library/prefix/image", "docker.io/library/prefix", "example.com", "example.com/image"),
        ("docker.io/namespace/image", "*.io", "example.com", "example.com/namespace/image"),
        ("sub.example.io/library/prefix/image", "*.example.io", "example.com", "example.com/library/prefix/image"),
        (
            "another.sub.example.io:5000/library/prefix/image:latest",
            "*.sub.example.io",
            "example.com",
            "example.com:5000/library/prefix/image:latest",
        ),
        ("foo.bar.io/ns1/ns2/ns3/ns4", "*.bar.io", "omg.bbq.com/roflmao", "omg.bbq.com/roflmao/ns1/ns2/ns3/ns4"),
        ("abc.internal.registry.com/foo:bar", "*.internal.registry.com", "", "abc.internal.registry.com/foo:bar"),
        ("alien.vs.predator.foobar.io:5000/omg", "*.foobar.io", "", "alien.vs.predator.foobar.io:5000/omg"),
        (&odd, "*.foobar.io", "", &odd),
    ] {
        let registries = parse(&format!("[[registry]]\nprefix='{prefix}'\nlocation='{location}'\n")).unwrap();
        let resolution = registries.resolve(&reference(name)).unwrap();
        assert_eq!(resolution.prefix.as_deref(), Some(prefix), "{name}");
        let found: Vec<_> = used(&resolution).into_iter().map(|(reference, _)| reference).collect();
        assert_eq!(found, [expected], "{name} {prefix} {location}");
    }
}

#[test]
fn rewriting_must_give_a_full_name() {
    for (name, prefix, location) in [
        (&*format!("example.com/foo@sha256:{HEX}"), "example.com/foo", "example.com"),
        ("example.com:5000/image:latest", "example.com", "example.com:5000"),
        ("example.com/foo/image", "example.com/foo", "docker.io"),
        ("example.com/foo/image", "example.com", "mirror"),
        ("example.com/foo/image", "example.com", "Example.com/UPPER"),
    ] {
        let registries = parse(&format!("[[registry]]\nprefix='{prefix}'\nlocation='{location}'\n")).unwrap();
        let error = registries.resolve(&reference(name)).unwrap_err();
        assert!(matches!(error, Error::Rewrite { .. }), "{name}: {error:?}");
        let message = error.full_message();
        assert!(message.contains("registries.conf") && message.contains(location), "{message}");
    }
}

/// Returns the references that would be used, with whether they are insecure.
fn used(resolution: &Resolution) -> Vec<(String, bool)> {
    let used = resolution.endpoints.iter().filter(|endpoint| endpoint.is_used());
    used.map(|endpoint| (endpoint.reference.as_ref().unwrap().to_string(), endpoint.insecure)).collect()
}

#[test]
fn mirrors_are_used_by_digest_or_by_tag() {
    let mut text = String::new();
    // Each: name, keys of the registry, keys of its mirrors, used for digests, used for tags.
    let cases = [
        ("a", "", vec!["", "insecure=true"], vec![1, 2], vec![1, 2]),
        ("b", "mirror-by-digest-only=true", vec!["", ""], vec![1, 2], vec![]),
        ("c", "", vec!["", "pull-from-mirror='digest-only'"], vec![1, 2], vec![1]),
        ("d", "", vec!["pull-from-mirror='digest-only'"; 2], vec![1, 2], vec![]),
        ("e", "", vec!["pull-from-mirror='tag-only'"; 2], vec![], vec![1, 2]),
        ("f", "", vec!["", "pull-from-mirror='tag-only'"], vec![1], vec![1, 2]),
        (
            "g",
            "",
            vec!["pull-from-mirror='digest-only'", "pull-from-mirror='tag-only'", "", "pull-from-mirror='all'"],
            vec![1, 3, 4],
            vec![2, 3, 4],
        ),
    ];
    for (name, keys, mirrors, ..) in &cases {
        text +=
            &format!("[[registry]]\nprefix='registry-{name}.com/foo'\nlocation='registry-{name}.com/bar'\n{keys}\n");
        for (index, keys) in mirrors.iter().enumerate() {
            text += &format!("[[registry.mirror]]\nlocation='mirror-{}.registry-{name}.com'\n{keys}\n", index + 1);
        }
    }
    let registries = parse(&text).unwrap();
    for (name, _, mirrors, by_digest, by_tag) in cases {
        for (suffix, numbers) in [(format!("@sha256:{HEX}"), by_digest), (":aaa".to_owned(), by_tag)] {
            let mut expected: Vec<_> = numbers
                .iter()
                .map(|number| {
                    let insecure = mirrors[number - 1].contains("insecure");
                    (format!("mirror-{number}.registry-{name}.com/image{suffix}"), insecure)
                })
                .collect();
            expected.push((format!("registry-{name}.com/bar/image{suffix}"), false));
            let reference = reference(&format!("registry-{name}.com/foo/image{suffix}"));
            assert_eq!(used(&registries.resolve(&reference).unwrap()), expected, "{name} {suffix}");
        }
    }
}

#[test]
fn without_an_entry_the_reference_is_used_as_it_is() {
    let resolution = parse("").unwrap().resolve(&reference("quay.io/a/b:1")).unwrap();
    assert_eq!((resolution.prefix.as_deref(), resolution.location.as_str()), (None, "quay.io"));
    assert_eq!(used(&resolution), [("quay.io/a/b:1".to_owned(), false)]);
    assert!(!resolution.blocked && !resolution.insecure && resolution.file.is_none());
}

/// OpenShift forbids the use of a source with `blocked`, and pulls from its mirrors only.
#[test]
fn blocked_registries_may_have_mirrors() {
    let text = "[[registry]]\nlocation='a.test'\nblocked=true\n[[registry.mirror]]\nlocation='m.test'\n\
                [[registry.mirror]]\nlocation='b.test'\n[[registry]]\nlocation='b.test'\nblocked=true\n";
    let resolution = parse(text).unwrap().resolve(&reference("a.test/x:1")).unwrap();
    assert!(resolution.blocked);
    assert_eq!(used(&resolution), [("m.test/x:1".to_owned(), false)]);
    assert_eq!(resolution.endpoints.iter().filter(|endpoint| endpoint.blocked.is_some()).count(), 2);
}

#[test]
fn invalid_files_are_errors_with_their_path() {
    for (text, reason) in [
        ("[[registry]]\nlocation='r.com'\n[[registry]]\nlocation='r.com'\ninsecure=true\n", "\"r.com\" has several"),
        ("[[registry]]\nlocation='r.com'\n[[registry]]\nlocation='r.com'\nblocked=true\n", "blocked differs"),
        ("[[registry]]\nlocation='r.com'\n[[registry.mirror]]\n", "a mirror of \"r.com\" has no location"),
        ("[[registry]]\nlocation='r.com'\nprefix='http://x.com'\n", "scheme"),
        ("[[registry]]\nlocation='https://r.com'\n", "scheme"),
        ("[[registry]]\n", "neither a prefix nor a location"),
        ("[[registry]]\nprefix='x.com'\n", "has no location"),
        ("[[registry]]\nprefix='*.x.com/y'\nlocation='r.com'\n", "wildcard"),
        ("[[registry]]\nprefix='*.x.com:1'\n", "wildcard"),
        ("[[registry]]\nlocation='r.com'\npull-from-mirror='digest-only'\n", "belongs to a [[registry.mirror]]"),
        (
            "[[registry]]\nlocation='r.com'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='m.com'\n\
             pull-from-mirror='digest-only'\n",
            "may not have pull-from-mirror",
        ),
        ("[[registry]]\nlocation='r.com'\n[[registry.mirror]]\nlocation='m.com'\npull-from-mirror='no'\n", "\"no\""),
        ("unqualified-search-registries=['r.com/namespace']\n", "\"r.com/namespace\""),
        ("unqualified-search-registries=['']\n", "\"\""),
        ("unqualified-search-registries=['http://r.com']\n", "scheme"),
        ("short-name-mode='invalid'\n", "\"invalid\""),
        ("[aliases]\nimage1='quay.io/repo/image:1'\nimage2='image:1'\n", "image1"),
        ("[aliases]\nimage1='quay.io/repo/image:1'\nimage2='image:1'\n", "image2"),
        ("[aliases]\n'x:1'='quay.io/x'\n", "tag"),
        ("[aliases]\n'quay.io/x'='quay.io/x'\n", "registry"),
        ("invalid", "line 1"),
        ("[[registry]]\nlocation=5\n", "line 2"),
        ("unqualified-search-registries=[]\n[registries.search]\nregistries=[]\n", "mixes"),
        ("[registries.block]\nregistries=['b.com']\n[[registry]]\nlocation='a.com'\n", "mixes"),
        ("[registries.block]\nregistries=['http://b.com']\n", "scheme"),
        ("[registries.insecure]\nregistries=['http://b.com']\n", "scheme"),
        ("[registries.search]\nregistries=['http://b.com']\n", "scheme"),
    ] {
        let message = parse(text).unwrap_err().full_message();
        assert!(message.contains("registries.conf") && message.contains(reason), "{text:?}: {message}");
    }
}

#[test]
fn version_1_is_read_alone() {
    let text = "[registries.search]\nregistries=['registry-a.com////','registry-c.com','registry-d.com']\n\
                [registries.block]\nregistries=['registry-b.com']\n\
                [registries.insecure]\nregistries=['registry-b.com////','registry-d.com','registry-e.com','registry-a.com']\n";
    let registries = parse(text).unwrap();
    assert_eq!(registries.entries().len(), 4);
    assert_eq!(registries.search_registries().0, ["registry-a.com", "registry-c.com", "registry-d.com"]);
    let entry = registries.find("registry-b.com/bar/foo/barfoo:latest").unwrap();
    assert!(entry.insecure && entry.blocked);
    let entry = registries.find("registry-e.com").unwrap();
    assert!(entry.insecure && !entry.blocked);

    let home = Home::new();
    home.file("d/one.conf", "[registries.search]\nregistries=[]\n");
    let locations = Locations { registries_conf_dir: Some(home.path("d")), ..home.with_conf("") };
    let message = Registries::load(&locations).unwrap_err().full_message();
    assert!(message.contains("one.conf") && message.contains("version 2"), "{message}");
}

#[test]
fn drop_ins_replace_keys_entries_and_aliases() {
    let home = Home::new();
    let base = "unqualified-search-registries=['example.com']\ncredential-helpers=['helper-1']\n\
                short-name-mode='enforcing'\n[[registry]]\nlocation='base.com'\ninsecure=true\n\
                [aliases]\ndocker='docker.io/library/foo'\nexample='example.com/library/foo'\n";
    home.file(
        "d/config-1.conf",
        "unqualified-search-registries=['example-overwrite.com']\ncredential-helpers=['we','will','be','overridden']\n\
         [[registry]]\nlocation='1.com'\n[aliases]\ndocker='docker.io/library/config1'\n",
    );
    home.file(
        "d/config-2.conf",
        "short-name-mode='permissive'\ncredential-helpers=['dropin-1','dropin-2']\n[[registry]]\nlocation='2.com'\n\
         [[registry]]\nlocation='base.com'\nblocked=true\n[aliases]\nexample=''\n",
    );
    home.file("d/config-3.conf", "");
    home.file("d/config-4.ignore", "[[registry]]\nlocation='ignored.com'\n");
    home.file("d/below/config-5.conf", "[[registry]]\nlocation='below.com'\n");
    fs::create_dir_all(home.path("d/directory.conf")).unwrap();
    let locations = Locations { registries_conf_dir: Some(home.path("d")), ..home.with_conf(base) };
    let registries = Registries::load(&locations).unwrap();
    let (search, file) = registries.search_registries();
    assert_eq!((search, file), (&["example-overwrite.com".to_owned()][..], Some(&*home.path("d/config-1.conf"))));
    assert_eq!(registries.credential_helpers(), ["dropin-1", "dropin-2"]);
    assert_eq!(registries.short_name_mode(), ShortNameMode::Permissive);
    let entries: Vec<_> = registries.entries().iter().map(|entry| entry.location.as_str()).collect();
    assert_eq!(entries, ["1.com", "2.com", "base.com"]);
    let base = registries.find("base.com/test:latest").unwrap();
    assert!(base.blocked && !base.insecure && base.file.ends_with("config-2.conf"));
    assert_eq!(registries.aliases()["docker"].value, Some(reference("docker.io/library/config1")));
    assert_eq!(registries.aliases()["example"].value, None);

    home.file("d/config-6.conf", "unqualified-search-registries=[]\ncredential-helpers=[]\n");
    let registries = Registries::load(&locations).unwrap();
    assert!(registries.search_registries().0.is_empty());
    assert_eq!(registries.credential_helpers(), ["containers-auth.json"]);
}

#[test]
fn the_users_file_replaces_the_systems_and_its_drop_ins() {
    let home = Home::new();
    let entry = |name: &str| format!("[[registry]]\nlocation='{name}.test'\n");
    let names = |locations: &Locations| -> Vec<String> {
        let registries = Registries::load(locations).unwrap();
        registries.entries().iter().map(|entry| entry.location.trim_end_matches(".test").to_owned()).collect()
    };
    let locations = home.locations();
    assert!(names(&locations).is_empty());
    home.file("root/etc/containers/registries.conf", &entry("system"));
    home.file("root/etc/containers/registries.conf.d/a.conf", &entry("system-d"));
    home.file("home/.config/containers/registries.conf.d/a.conf", &entry("user-d"));
    assert_eq!(names(&locations), ["system-d", "system", "user-d"]);
    let directory = Locations { registries_conf_dir: Some(home.path("nothing")), ..locations.clone() };
    assert_eq!(names(&directory), ["system"]);
    let main = Locations { registries_conf: Some(home.file("other.conf", &entry("other"))), ..locations.clone() };
    assert_eq!(names(&main), ["other", "system-d", "user-d"]);
    home.file("home/.config/containers/registries.conf", &entry("user"));
    assert_eq!(names(&locations), ["user-d", "user"]);
    assert_eq!(names(&main), ["other", "system-d", "user-d"]);

    let missing = Locations { registries_conf: Some(home.path("missing.conf")), ..locations };
    let message = Registries::load(&missing).unwrap_err().full_message();
    assert!(message.contains("missing.conf"), "{message}");
}

#[test]
fn slashes_at_the_end_and_unknown_keys_are_ignored() {
    let text = "unknown=1\n[[registry]]\nlocation='example.com//////'\nunknown=2\n[[registry]]\nlocation='b.com:5000/with/path/'\n";
    let registries = parse(text).unwrap();
    let locations: Vec<_> = registries.entries().iter().map(|entry| entry.location.as_str()).collect();
    assert_eq!(locations, ["b.com:5000/with/path", "example.com"]);
}

/// The first of several entries with one prefix counts.
#[test]
fn the_first_entry_of_a_prefix_counts() {
    let text = "[[registry]]\nprefix='x.com'\nlocation='a.com'\n[[registry]]\nprefix='x.com'\nlocation='b.com'\n";
    let registries = parse(text).unwrap();
    assert_eq!((registries.entries().len(), location(&registries, "x.com/y").as_deref()), (1, Some("a.com")));
}

/// Cuts a file at every byte, and changes every byte.
#[test]
fn damaged_files_do_not_panic() {
    let home = Home::new();
    let path = home.path("registries.conf");
    let text = r#"unqualified-search-registries = ["a.test", "b.test:5000"]
short-name-mode = "permissive"
credential-helpers = ["containers-auth.json"]
[aliases]
"ä" = "quay.io/x/y"
[[registry]]
prefix = "*.a.test"
location = "b.test/c"
mirror-by-digest-only = false
[[registry.mirror]]
location = "m.test:1/é"
pull-from-mirror = "tag-only"
insecure = true
"#;
    let (reference, mut loaded) = (reference("x.a.test/repo:tag"), 0);
    let mut read = |bytes: &[u8]| {
        let locations = home.with_conf("");
        fs::write(&path, bytes).unwrap();
        if let Ok(registries) = Registries::load(&locations) {
            let _ = registries.resolve(&reference);
            loaded += 1;
        }
    };
    for position in 0..text.len() {
        read(&text.as_bytes()[..position]);
        for byte in [0, b'"', b'[', b'*', b'/', 0xff] {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = byte;
            read(&bytes);
        }
    }
    assert!(loaded > 0, "some changes are harmless");
}
