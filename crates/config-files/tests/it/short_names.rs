//! Short names: aliases, registries to search, and the file with the user's choices.

use std::fs;
use std::thread;

use vmroot_config_files::{Aliases, Error, NameOrigin, ShortNameMode, is_short};
use vmroot_model::Reference;
use vmroot_testkit::FullMessage as _;

use crate::home::{Home, configuration, mode};

const DIGEST: &str = "@sha256:d366a4665ab44f0648d7a00ae3fae139d55e32f9712c67accd604bb55df9d05a";

const ALIASES: &str = "short-name-mode='enforcing'\n[aliases]\ndocker='docker.io/library/foo'\n\
                       'quay/foo'='quay.io/library/foo'\nexample='example.com/library/foo'\nempty=''\n";

#[test]
fn names_with_a_host_are_not_short() {
    for name in ["fedora", "fedora:latest", "library/fedora", "library/fedora:latest", "localhost", "1234567489"] {
        assert!(is_short(name), "{name}");
    }
    for name in ["quay.io/fedora", "docker.io/library/fedora:latest", "localhost/fedora", "localhost:5000/f", "[::1]/x"]
    {
        assert!(!is_short(name), "{name}");
    }
    assert!(is_short(&format!("busybox:latest{DIGEST}")) && !is_short(&format!("docker.io/busybox{DIGEST}")));
}

#[test]
fn aliases_keep_tag_and_digest() {
    let home = Home::new();
    let configuration = configuration(home.with_conf(ALIASES));
    for (name, expected) in [
        ("docker", "docker.io/library/foo:latest"),
        ("docker:tag", "docker.io/library/foo:tag"),
        (&*format!("docker{DIGEST}"), &*format!("docker.io/library/foo{DIGEST}")),
        ("quay/foo", "quay.io/library/foo:latest"),
        ("quay/foo:tag", "quay.io/library/foo:tag"),
        ("example:tag", "example.com/library/foo:tag"),
        ("registry.com/repo/image", "registry.com/repo/image:latest"),
        ("registry.com/repo/image:tag", "registry.com/repo/image:tag"),
        (&format!("registry.com/repo/image{DIGEST}"), &format!("registry.com/repo/image{DIGEST}")),
        // Neither an alias nor a registry to search: Docker's meaning, as in skopeo.
        ("doesnotexist", "docker.io/library/doesnotexist:latest"),
        ("empty", "docker.io/library/empty:latest"),
    ] {
        let resolved = configuration.resolve_name(name).unwrap();
        assert_eq!(resolved.candidates, [Reference::parse(expected).unwrap()], "{name}");
        assert!(!resolved.should_choose, "{name}");
    }
    let origin = configuration.resolve_name("docker").unwrap().origin;
    assert_eq!(origin, NameOrigin::Alias(home.path("registries.conf")));
    for name in ["", "$$$", "::", "docker://quay.io/library/foo:bar", " ", "Invalid#$"] {
        assert!(configuration.resolve_name(name).is_err(), "{name}");
    }
}

#[test]
fn registries_are_searched_in_order() {
    let two = "unqualified-search-registries=['quay.io','registry.com']\n";
    let search = |text: &str| {
        let home = Home::new();
        let configuration = configuration(home.with_conf(text));
        let resolved = configuration.resolve_name("repo/image:tag").unwrap();
        let mode = configuration.registries().unwrap().short_name_mode();
        let names = resolved.candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        (names, resolved.should_choose, resolved.without_choice(mode))
    };
    let both = "quay.io/repo/image:tag registry.com/repo/image:tag";
    for (mode, should_choose, may_try_all) in
        [("enforcing", true, false), ("permissive", true, true), ("disabled", false, true)]
    {
        let (names, choose, without) = search(&format!("{two}short-name-mode='{mode}'\n"));
        assert_eq!((names.as_str(), choose, without.is_ok()), (both, should_choose, may_try_all), "{mode}");
        if let Err(error) = without {
            assert!(matches!(error, Error::Ambiguous { .. }), "{error:?}");
            let message = error.full_message();
            assert!(message.contains("quay.io/repo/image:tag or registry.com"), "{message}");
        }
    }
    let (names, choose, _) = search("unqualified-search-registries=['quay.io']\nshort-name-mode='enforcing'\n");
    assert_eq!((names.as_str(), choose), ("quay.io/repo/image:tag", false));
    let (names, ..) = search("unqualified-search-registries=[]\n");
    assert_eq!(names, "docker.io/repo/image:tag");
    let (names, ..) = search("unqualified-search-registries=['docker.io']\n");
    assert_eq!(names, "docker.io/repo/image:tag");
    let home = Home::new();
    let configuration = configuration(home.with_conf(""));
    assert_eq!(configuration.registries().unwrap().short_name_mode(), ShortNameMode::Permissive);
}

#[test]
fn choices_are_recorded_and_outrank_registries_conf() {
    let home = Home::new();
    let mut locations = home.with_conf(ALIASES);
    let path = home.path("cache/containers/short-name-aliases.conf");
    locations.short_name_aliases = Some(path.clone());
    let configuration = configuration(locations);
    let aliases = configuration.aliases().unwrap();
    let value = |text: &str| Reference::parse(text).unwrap();
    for (name, to) in [("added1", "aliases.conf/added1"), ("ns/added2", "a.test:5000/b"), ("docker", "quay.io/docker")]
    {
        aliases.record(name, &value(to)).unwrap();
        let resolved = configuration.resolve_name(&format!("{name}:tag")).unwrap();
        assert_eq!(resolved.candidates, [value(&format!("{to}:tag"))]);
        assert_eq!(resolved.origin, NameOrigin::Alias(path.clone()));
    }
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        "[aliases]\n  \"added1\" = \"aliases.conf/added1\"\n  \"docker\" = \"quay.io/docker\"\n  \
         \"ns/added2\" = \"a.test:5000/b\"\n"
    );
    aliases.remove("docker").unwrap();
    let resolved = configuration.resolve_name("docker").unwrap();
    assert_eq!(resolved.candidates, [value("docker.io/library/foo:latest")]);
    for name in ["docker", "example"] {
        assert!(aliases.remove(name).is_err(), "{name} is not in the file");
    }
    for (name, to) in [
        ("added3", "aliases.conf/added3:tag"),
        ("added3:tag", "aliases.conf/added3"),
        ("quay.io/added3", "aliases.conf/added3"),
        ("added3", &format!("aliases.conf/added3{DIGEST}")),
    ] {
        let message = aliases.record(name, &value(to)).unwrap_err().full_message();
        assert!(message.contains("short-name-aliases.conf") && message.contains(name), "{message}");
    }
    fs::write(&path, "[aliases]\nx = \"y\"\n").unwrap();
    assert!(configuration.resolve_name("docker").unwrap_err().full_message().contains("no registry"));
}

/// No choice is lost, and no reader sees half a file.
#[test]
fn threads_record_at_the_same_time() {
    let home = Home::new();
    let aliases = Aliases::new(home.path("aliases.conf"));
    thread::scope(|scope| {
        for number in 0..8 {
            let aliases = &aliases;
            scope.spawn(move || {
                aliases.record(&format!("name{number}"), &Reference::parse("quay.io/x").unwrap()).unwrap();
                aliases.read().unwrap();
            });
        }
    });
    assert_eq!(aliases.read().unwrap().len(), 8);
}
