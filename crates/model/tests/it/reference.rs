//! Tests of the reference grammar: known cases, and round trips.

use proptest::prelude::*;
use vmroot_model::{Digest, Error, Reference, ReferencePart};

const SHA256: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const HEX64: &str = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";

/// Returns the part of an invalid reference that the error is about.
fn invalid_part(text: &str) -> ReferencePart {
    match Reference::parse(text) {
        Err(Error::InvalidReference { reference, part, .. }) => {
            assert_eq!(reference, text);
            part
        }
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn references_are_normalised() {
    let id = |text: &str| format!("{text}@{SHA256}");
    for (text, domain, path, tag) in [
        ("alpine", "docker.io", "library/alpine", None),
        ("alpine:3.19", "docker.io", "library/alpine", Some("3.19")),
        ("jerync/oshyx_0.4:20220614", "docker.io", "jerync/oshyx_0.4", Some("20220614")),
        ("gcr.io/project/image:v1", "gcr.io", "project/image", Some("v1")),
        ("localhost:5000/image:test", "localhost:5000", "image", Some("test")),
        ("localhost/myimage:v1", "localhost", "myimage", Some("v1")),
        ("docker.io/library/nginx:latest", "docker.io", "library/nginx", Some("latest")),
        ("quay.io/prometheus/node-exporter:v1.0.0", "quay.io", "prometheus/node-exporter", Some("v1.0.0")),
        ("registry.example.com/a/b/c/d:tag", "registry.example.com", "a/b/c/d", Some("tag")),
        ("user/my.repo.name:v1.2.3", "docker.io", "user/my.repo.name", Some("v1.2.3")),
        ("docker.io/debian", "docker.io", "library/debian", None),
        ("index.docker.io/debian", "docker.io", "library/debian", None),
        ("index.docker.io/library/debian", "docker.io", "library/debian", None),
        ("index.docker.io/docker/docker", "docker.io", "docker/docker", None),
        ("library/debian", "docker.io", "library/debian", None),
        ("127.0.0.1:5000/library/debian", "127.0.0.1:5000", "library/debian", None),
        ("192.168.0.1", "docker.io", "library/192.168.0.1", None),
        ("192.168.0.1:80", "docker.io", "library/192.168.0.1", Some("80")),
        ("192.168.0.1:8/debian", "192.168.0.1:8", "debian", None),
        ("[fc00::1]:5000/docker", "[fc00::1]:5000", "docker", None),
        ("[::1]:5000/a/b:t", "[::1]:5000", "a/b", Some("t")),
        ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", None),
        ("test.com:8080/repo:tag", "test.com:8080", "repo", Some("tag")),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", Some("xn--n3h.com")),
        ("b.gcr.io/test.example.com/my-app:1.2", "b.gcr.io", "test.example.com/my-app", Some("1.2")),
        ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", Some("8080")),
        ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", Some("8080")),
        ("foo--bar/a__b/c---d", "docker.io", "foo--bar/a__b/c---d", None),
        ("EXAMPLE.com/x", "EXAMPLE.com", "x", None),
        ("a:_under", "docker.io", "library/a", Some("_under")),
        ("a:Tag.With-All_Of.It", "docker.io", "library/a", Some("Tag.With-All_Of.It")),
        ("a.b.c.d/x", "a.b.c.d", "x", None),
        ("docker/docker", "docker.io", "docker/docker", None),
        ("localhosts/x", "docker.io", "localhosts/x", None),
        // The classes of cases of go-containerregistry.
        ("eu.gcr.io/google.com/project/with-nums-1:v2", "eu.gcr.io", "google.com/project/with-nums-1", Some("v2")),
        ("gcr.io/p/image:w1th-alpha_num3ric.CAPITALS", "gcr.io", "p/image", Some("w1th-alpha_num3ric.CAPITALS")),
        ("domain.with.port:9001/image:latest", "domain.with.port:9001", "image", Some("latest")),
        ("www.example.test:12345/repo/path", "www.example.test:12345", "repo/path", None),
        ("mirror.gcr.io/ubuntu", "mirror.gcr.io", "ubuntu", None),
        ("example.com/a/b", "example.com", "a/b", None),
        ("0", "docker.io", "library/0", None),
    ] {
        let reference = Reference::parse(text).unwrap();
        assert_eq!((reference.domain(), reference.path(), reference.tag()), (domain, path, tag), "{text}");
        assert_eq!(reference.digest(), None, "{text}");
        assert_eq!(reference.name(), format!("{domain}/{path}"));

        let pinned = Reference::parse(&id(text)).unwrap();
        assert_eq!((pinned.domain(), pinned.path(), pinned.tag()), (domain, path, tag), "{text}");
        assert_eq!(pinned.digest().unwrap().to_string(), SHA256);
    }
}

#[test]
fn errors_name_the_part() {
    use ReferencePart::{Digest, Domain, Reference as Whole, Repository, Tag};
    let long_tag = format!("a:{}", "x".repeat(129));
    let long_name = format!("{}a", "a/".repeat(128));
    for (text, part) in [
        ("", Whole),
        ("https://github.com/docker/docker", Whole),
        ("docker://alpine", Whole),
        (HEX64, Whole),
        (":justtag", Repository),
        (&format!("@{SHA256}"), Repository),
        ("repo@sha256:ffffffffffffffffffffffffffffffffff", Digest),
        ("validname@invaliddigest:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", Digest),
        ("repo@", Digest),
        ("repo@latest", Digest),
        (&format!("repo@{}", SHA256.to_uppercase()), Digest),
        (&format!("repo@{SHA256}@{SHA256}"), Digest),
        (&format!("repo@{SHA256}:tag"), Digest),
        ("repo:", Tag),
        ("repo:a:b", Tag),
        ("repo:-x", Tag),
        ("repo:.x", Tag),
        ("repo:a b", Tag),
        ("repo:é", Tag),
        ("gcr.io/p/x:c@n't", Digest),
        (&format!("library/nginx:@{SHA256}"), Tag),
        (&format!("repo@sha256:{}", ":".repeat(64)), Digest),
        (&format!("repo@sha256:{}", "sh".repeat(32)), Digest),
        ("repo@unknown:abc123", Digest),
        ("b@char/image", Digest),
        (&long_tag, Tag),
        (&long_name, Repository),
        ("a//b", Repository),
        ("/a", Repository),
        ("a/", Repository),
        ("docker.io/", Repository),
        ("localhost/", Repository),
        ("-docker", Repository),
        ("-docker/docker", Repository),
        ("docker-", Repository),
        ("docker///docker", Repository),
        ("docker.io/docker///docker", Repository),
        ("a._b", Repository),
        ("a..b", Repository),
        ("a___b", Repository),
        ("a.-b", Repository),
        ("a/_b", Repository),
        ("a b", Repository),
        (" alpine", Repository),
        ("alpine\n", Repository),
        ("aa/asdf$$^/aa", Repository),
        ("Ünicode/x", Repository),
        ("-docker.io/docker/docker", Domain),
        ("-test.example.com/x", Domain),
        ("foo_bar.com/x", Domain),
        ("a..b/x", Domain),
        (".a/x", Domain),
        ("a./x", Domain),
        ("a:/x", Domain),
        (":5000/x", Domain),
        ("a:b/x", Domain),
        ("a:70000/x", Domain),
        ("a:+80/x", Domain),
        ("a:1:2/x", Domain),
        ("fc00::1:5000/debian", Domain),
        ("[fe80::1%eth0]:5000/debian", Domain),
        ("[2001:db8:3:4::192.0.2.33]:5000/debian", Domain),
        ("[::1/debian", Domain),
        ("[::1]5000/debian", Domain),
        ("[]/debian", Domain),
        ("[fc00::1]", Repository),
    ] {
        assert_eq!(invalid_part(text), part, "{text}");
    }
}

#[test]
fn capital_letters_have_a_specific_error() {
    for (text, at_fault) in [
        ("Alpine", "Alpine"),
        ("Uppercase:tag", "Uppercase"),
        ("docker/Docker", "docker/Docker"),
        ("User/image", "User/image"),
        ("docker.io/docker/Docker", "docker/Docker"),
        ("test:5000/Uppercase/lowercase:tag", "Uppercase/lowercase"),
    ] {
        match Reference::parse(text) {
            Err(Error::UppercaseRepository { repository, .. }) => assert_eq!(repository, at_fault),
            other => panic!("{text}: {other:?}"),
        }
    }
    let message = Reference::parse("Alpine").unwrap_err().to_string();
    assert_eq!(message, r#"invalid image reference "Alpine": repository name "Alpine" must be lowercase"#);
}

#[test]
fn messages_have_the_part_and_the_reason() {
    for (text, message) in [
        ("alpine:", r#"invalid image reference "alpine:": the tag is empty"#),
        (
            "localhost:x/y",
            r#"invalid image reference "localhost:x/y": the registry "localhost:x": "x" is not a port number"#,
        ),
        ("a@sha256:ff", r#"invalid image reference "a@sha256:ff": the digest "sha256:ff": wrong number of hex digits"#),
    ] {
        assert_eq!(Reference::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn limits_are_exact() {
    let name = |length: usize| format!("r.io/{}", "a".repeat(length - 5));
    assert!(Reference::parse(&name(255)).is_ok());
    assert_eq!(invalid_part(&name(256)), ReferencePart::Repository);
    assert!(Reference::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    assert_eq!(invalid_part(&format!("a:{}", "t".repeat(129))), ReferencePart::Tag);
}

#[test]
fn sha512_digests_are_accepted() {
    let digest = format!("sha512:{}", "ab".repeat(64));
    let reference = Reference::parse(&format!("a:b@{digest}")).unwrap();
    assert_eq!(reference.to_string(), format!("docker.io/library/a:b@{digest}"));
}

#[test]
fn familiar_names_are_short() {
    for (text, familiar) in [
        ("docker.io/library/alpine:3.20", "alpine:3.20"),
        ("docker.io/user/app", "user/app"),
        ("quay.io/library/x", "quay.io/library/x"),
        ("docker.io/library/a/b", "library/a/b"),
        ("docker.io/localhost/x", "docker.io/localhost/x"),
        (&format!("docker.io/{HEX64}"), &format!("library/{HEX64}")),
    ] {
        assert_eq!(Reference::parse(text).unwrap().familiar(), familiar);
    }
}

#[test]
fn tags_digests_and_hosts_are_returned() {
    let bare = Reference::parse("alpine").unwrap();
    assert_eq!((bare.tag(), bare.tag_or_default(), bare.identifier().as_str()), (None, Some("latest"), "latest"));
    assert_eq!(bare.registry_host(), "registry-1.docker.io");
    let tagged = bare.with_tag("3.20").unwrap();
    assert_eq!(tagged.identifier(), "3.20");
    let digest = Digest::of(b"");
    let pinned = tagged.with_digest(digest);
    assert_eq!((pinned.tag(), pinned.identifier()), (Some("3.20"), digest.to_string()));
    assert_eq!(bare.with_digest(digest).tag_or_default(), None);
    assert_eq!(pinned.with_tag("x").unwrap().to_string(), "docker.io/library/alpine:x");
    assert!(bare.with_tag("-").is_err());
    assert_eq!(Reference::parse("[::1]:5000/a").unwrap().registry_host(), "[::1]:5000");
}

proptest! {
    #[test]
    fn printing_a_parsed_reference_gives_an_equal_reference(
        domain in "((([a-zA-Z0-9]([a-z0-9-]{0,5}[a-z0-9])?\\.){1,2}[a-z]{1,3}|localhost|\\[::[0-9a-f]{1,4}\\])(:[0-9]{1,4})?/)?",
        // A first part with a dot would be a registry.
        path in "[a-z0-9]{1,4}((_|__|-{1,3})[a-z0-9]{1,4})?(/[a-z0-9]{1,4}((\\.|_|__|-)[a-z0-9]{1,4}){0,2}){0,3}",
        tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
        digest in "(@sha256:[0-9a-f]{64})?",
    ) {
        let text = format!("{domain}{path}{tag}{digest}");
        let reference = Reference::parse(&text).unwrap();
        prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
        prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        prop_assert!(reference.familiar().len() <= reference.to_string().len());
    }

    #[test]
    fn parsing_never_panics(text in "[a-zA-Z0-9._:/@\\[\\]é -]{0,80}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        }
    }
}
