//! The choice of an instance for copies: the classes of cases of containers/image.

use vmroot_model::{Error, Index, Platform};

use crate::samples::{entry, index, index_of};

const ZSTD: &str = r#","annotations":{"io.github.containers.compression.zstd":"true"}"#;

/// A platform in the spelling of a user, which `Platform::parse` would normalise.
fn wanted(text: &str) -> Platform {
    let mut parts = text.split('/').map(str::to_owned);
    Platform {
        os: parts.next().unwrap_or_default(),
        architecture: parts.next().unwrap_or_default(),
        variant: parts.next(),
        ..Platform::default()
    }
}

/// Returns the position of the chosen entry. The size of entry n is n.
fn chosen(index: &Index, platform: &str, prefer_gzip: bool) -> Option<u64> {
    match index.choose_instance(&wanted(platform), prefer_gzip) {
        Ok(entry) => Some(entry.size),
        Err(Error::ArchitectureMismatch { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_best_variant_is_chosen() {
    let arms = ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/arm", "linux/arm/other"];
    let without_plain = &arms[..4];
    for (platform, platforms, expected) in [
        ("linux/arm/v8", &arms[..], Some(3)),
        ("linux/arm/v7", &arms, Some(2)),
        ("linux/arm/v6", &arms, Some(1)),
        ("linux/arm/v5", &arms, Some(0)),
        ("linux/arm", &arms, Some(4)),
        ("linux/arm/other", &arms, Some(5)),
        ("linux/arm/unknown", &arms, Some(4)),
        ("linux/arm", without_plain, Some(3)),
        ("linux/arm/unknown", without_plain, None),
        ("linux/arm/v6", &["linux/arm/v7", "linux/arm"], Some(1)),
        ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5", "linux/arm"], Some(1)),
        ("linux/arm64", &["linux/arm64/v8", "linux/arm64"], Some(1)),
        ("linux/arm64/v8", &["linux/arm64", "linux/arm64/v8"], Some(1)),
        ("linux/arm64", &["linux/arm64/v8"], Some(0)),
        ("linux/arm64/v8", &["linux/arm64"], Some(0)),
        ("linux/amd64", &["linux/amd64/v2"], None),
        ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v3"], Some(1)),
        // skopeo knows no order of amd64's variants.
        ("linux/amd64/v3", &["linux/amd64/v2", "linux/amd64"], Some(1)),
        ("linux/amd64/v3", &["linux/amd64/v2"], Some(0)),
        ("freeBSD/armel/custom", &["freeBSD/armel", "freeBSD/armel/custom"], Some(1)),
        ("linux/unmatched", &arms, None),
        ("windows/arm", &arms, None),
    ] {
        assert_eq!(chosen(&index_of(platforms), platform, false), expected, "{platform} of {platforms:?}");
    }
}

#[test]
fn other_spellings_and_missing_platforms_come_last() {
    for (platform, platforms, expected) in [
        ("linux/amd64", &["", "linux/x86_64", "linux/amd64"][..], Some(2)),
        ("linux/amd64", &["linux/x86_64", ""], Some(1)),
        ("linux/amd64", &["linux/arm64", "linux/x86_64"], Some(1)),
        ("linux/arm64/v9", &["linux/arm64/v8", ""], Some(1)),
        ("linux/arm64/v9", &["linux/arm64/v8"], Some(0)),
        ("linux/x86_64", &["linux/amd64"], Some(0)),
        ("linux/amd64", &["", "linux/arm64", ""], Some(0)),
        ("linux/riscv64", &["linux/arm64", ""], Some(1)),
        ("linux/amd64", &["unknown/unknown"], None),
        ("linux/amd64", &[], None),
    ] {
        assert_eq!(chosen(&index_of(platforms), platform, false), expected, "{platform} of {platforms:?}");
    }
}

#[test]
fn an_empty_platform_is_the_last_resort() {
    let empty = entry(0, "", r#","platform":{"os":"","architecture":""}"#);
    let with = |other: String| index(&format!(r#"{{"schemaVersion":2,"manifests":[{empty},{other}]}}"#));
    assert_eq!(chosen(&with(entry(1, "linux/x86_64", "")), "linux/amd64", false), Some(1));
    assert_eq!(chosen(&with(entry(1, "", "")), "linux/amd64", false), Some(1));
    assert_eq!(chosen(&with(entry(1, "linux/arm64", "")), "linux/amd64", false), Some(0));
    let list = r#""mediaType":"application/vnd.docker.distribution.manifest.list.v2+json""#;
    let entries = [entry(0, "", ""), entry(1, "linux/x86_64", "")].join(",");
    let list = index(&format!(r#"{{"schemaVersion":2,{list},"manifests":[{entries}]}}"#));
    assert_eq!(chosen(&list, "linux/amd64", false), Some(1));
}

#[test]
fn an_index_of_artifacts_gives_its_first() {
    let artifact = |number| entry(number, "", r#","artifactType":"application/vnd.example.sbom""#);
    let of = |entries: &[String]| index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
    assert_eq!(chosen(&of(&[artifact(0), artifact(1)]), "linux/amd64", false), Some(0));
    for image in ["linux/amd64", "linux/x86_64", ""] {
        assert_eq!(chosen(&of(&[artifact(0), entry(1, image, "")]), "linux/amd64", false), Some(1), "{image:?}");
    }
    assert_eq!(chosen(&of(&[entry(0, "unknown/unknown", "")]), "linux/amd64", false), None);
}

#[test]
fn equal_platforms_differ_by_compression() {
    let entries = [
        entry(0, "linux/amd64", ""),
        entry(1, "linux/amd64", ZSTD),
        entry(2, "linux/amd64", ZSTD),
        entry(3, "linux/arm64", ZSTD),
        entry(4, "linux/arm64", ""),
        entry(5, "linux/arm/v7", ""),
        entry(6, "linux/arm/v6", ZSTD),
        entry(7, "linux/s390x", ""),
        entry(8, "linux/s390x", r#","annotations":{"io.github.containers.compression.zstd":"false"}"#),
        entry(9, "", ""),
        entry(10, "", ZSTD),
    ];
    let index = index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
    for (platform, zstd, gzip) in [
        ("linux/amd64", 1, 0),
        ("linux/arm64", 3, 4),
        // The platform counts more.
        ("linux/arm/v7", 5, 5),
        ("linux/arm/v6", 6, 6),
        ("linux/s390x", 7, 7),
        ("linux/none", 10, 9),
    ] {
        assert_eq!(chosen(&index, platform, false), Some(zstd), "{platform}");
        assert_eq!(chosen(&index, platform, true), Some(gzip), "{platform}");
    }
    assert_eq!(index.instances_for(&wanted("linux/amd64")), [0, 1, 2]);
    assert_eq!(index.instances_for(&wanted("linux/arm")), [5, 6]);
    assert_eq!(index.instances_for(&wanted("linux/arm/v6")), [6]);
    assert_eq!(index.instances_for(&wanted("linux/aarch64")), [3, 4]);
    assert!(index.instances_for(&wanted("linux/none")).is_empty());
}

#[test]
fn versions_and_features_count_only_if_they_are_wanted() {
    let platform = |size: usize, more: &str| {
        entry(size, "", &format!(r#","platform":{{"os":"windows","architecture":"amd64"{more}}}"#))
    };
    let entries = [
        platform(0, r#","os.version":"10.0.17763.1","os.features":["win32k"]"#),
        platform(1, r#","os.version":"10.0.20348.1""#),
        platform(2, ""),
    ];
    let index = index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
    assert_eq!(chosen(&index, "windows/amd64", false), Some(0));
    for (version, expected) in [("10.0.20348.1", 1), ("10.0.20348.9", 1), ("10.0.17763.1", 0), ("10.0.1.1", 2)] {
        let wanted = Platform { os_version: Some(version.to_owned()), ..wanted("windows/amd64") };
        assert_eq!(index.choose_instance(&wanted, false).unwrap().size, expected, "{version}");
    }
    assert_eq!(index.instances_for(&wanted("windows/amd64")), [0, 1, 2]);
    assert_eq!(index.instances_for(&Platform::parse("windows/amd64:10.0.17763.5").unwrap()), [0, 2]);
}

#[test]
fn the_error_lists_the_platforms() {
    let index = index_of(&["linux/amd64", "linux/arm64"]);
    let error = index.choose_instance(&wanted("linux/s390x"), false).unwrap_err().to_string();
    assert_eq!(error, "image architecture mismatch: image is for amd64, arm64 but expected s390x");
}
