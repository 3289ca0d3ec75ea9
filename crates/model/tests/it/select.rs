//! Tests of selecting an entry of an index for a platform.

use proptest::prelude::*;
use vmroot_model::{Error, Platform};

use crate::samples::{self, entry, index, index_of};

fn wanted(platform: &str) -> Platform {
    Platform::parse(platform).unwrap()
}

/// Returns the positions of the candidates for `platform`, the best first, in an index with these platforms.
fn positions(platform: &str, platforms: &[&str]) -> Vec<u64> {
    index_of(platforms).candidates(&wanted(platform)).into_iter().map(|it| it.size).collect()
}

#[test]
fn the_best_match_is_first() {
    let arms = ["linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/arm64/v8"];
    let amds = ["linux/amd64/v4", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64"];
    for (platform, platforms, expected) in [
        ("linux/arm/v8", &arms[..], &[4, 3, 2, 1, 0][..]),
        ("linux/arm/v7", &arms, &[3, 2, 1, 0]),
        ("linux/arm/v6", &arms, &[2, 1, 0]),
        ("linux/arm/v5", &arms, &[1, 0]),
        ("linux/arm", &arms, &[0, 4, 3, 2, 1]),
        ("linux/arm/v9", &arms, &[0]),
        ("linux/arm64", &arms, &[5]),
        ("linux/arm64/v8", &arms, &[5]),
        ("linux/arm64/v9", &arms, &[5]),
        ("linux/amd64/v4", &amds, &[0, 1, 2, 3]),
        ("linux/amd64/v3", &amds, &[1, 2, 3]),
        ("linux/amd64/v2", &amds, &[2, 3]),
        ("linux/amd64/v1", &amds, &[3]),
        ("linux/amd64", &amds, &[3]),
        ("linux/amd64", &["linux/amd64/v1", "linux/amd64"], &[0, 1]),
        ("linux/arm64", &["linux/arm64/v9", "linux/arm64"], &[1]),
        // Other names of the same architectures.
        ("linux/amd64", &["linux/x86_64", "linux/aarch64"], &[0]),
        ("linux/arm64", &["linux/x86_64", "Linux/AArch64"], &[1]),
        ("linux/arm/v7", &["linux/armhf", "linux/arm/7", "linux/armel"], &[0, 1, 2]),
        // Another system does not match. An empty system matches.
        ("linux/amd64", &["windows/amd64", "linux/amd64"], &[1]),
        ("windows/amd64", &["windows/amd64", "linux/amd64"], &[0]),
        ("linux/amd64", &["/amd64"], &[0]),
        // Entries without a platform are last. Equal entries keep their order.
        ("linux/amd64", &["", "linux/amd64", "", "linux/amd64"], &[1, 3, 0, 2]),
        ("linux/arm/v7", &["", "linux/arm"], &[1, 0]),
        ("linux/amd64", &["linux/", "linux/amd64"], &[1, 0]),
        ("linux/riscv64", &["linux/riscv64"], &[0]),
        ("linux/amd64", &["unknown/unknown", "linux/arm64"], &[]),
        ("linux/amd64", &[], &[]),
    ] {
        assert_eq!(positions(platform, platforms), expected, "{platform} of {platforms:?}");
    }
}

#[test]
fn attestations_and_artifacts_are_not_candidates() {
    let entries = [
        entry(0, "linux/amd64", r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#),
        entry(1, "unknown/unknown", ""),
        entry(2, "", r#","annotations":{"vnd.docker.reference.type":"x"}"#),
        entry(3, "", r#","artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json""#),
        entry(4, "", r#","artifactType":"""#),
        entry(5, "", r#","artifactType":"application/vnd.oci.image.config.v1+json""#),
    ];
    let index = index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
    let sizes: Vec<u64> = index.candidates(&wanted("linux/amd64")).into_iter().map(|it| it.size).collect();
    assert_eq!(sizes, [4, 5]);
    assert_eq!(index.platforms(), []);
}

/// Returns the positions of the candidates for `platform` in an index of `linux/amd64` entries. `members` has the JSON
/// of further members of each entry's platform.
fn positions_with_members(platform: &Platform, members: &[&str]) -> Vec<u64> {
    let entry = |(size, members): (usize, &&str)| {
        let more = format!(r#","platform":{{"os":"linux","architecture":"amd64"{members}}}"#);
        entry(size, "", &more)
    };
    let entries: Vec<String> = members.iter().enumerate().map(entry).collect();
    let index = index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
    index.candidates(platform).into_iter().map(|it| it.size).collect()
}

/// Conversion tools push an index with two forms of each image: one with EROFS layers, marked by a feature, and one
/// with tar layers. Like containerd, ignores entries with features that are not wanted, and prefers the entry with the
/// most wanted features.
#[test]
fn entries_with_unwanted_features_are_not_candidates() {
    let amd64 = wanted("linux/amd64");
    let erofs = r#","os.features":["erofs"]"#;
    let two = r#","os.features":["erofs","sparse"]"#;
    for (members, expected) in [
        (&[erofs, ""][..], &[1][..]),
        (&["", erofs], &[0]),
        (&[erofs, two, "", ""], &[2, 3]),
        (&[erofs], &[]),
        (&[r#","os.features":[]"#, r#","os.features":null"#], &[0, 1]),
        (&[r#","os.features":[null]"#, r#","os.features":[""]"#, ""], &[0, 1, 2]),
        (&[r#","variant":"v1","os.features":["erofs"]"#, r#","variant":"v1""#], &[1]),
    ] {
        assert_eq!(positions_with_members(&amd64, members), expected, "{members:?}");
    }
    let with =
        |features: &[&str]| Platform { os_features: features.iter().map(|&it| it.into()).collect(), ..amd64.clone() };
    assert_eq!(positions_with_members(&with(&["erofs"]), &["", erofs, two]), [1, 0]);
    assert_eq!(positions_with_members(&with(&["sparse", "erofs"]), &["", erofs, two]), [2, 1, 0]);
    let error = index_of(&[]).select(&amd64).unwrap_err().to_string();
    assert!(!error.contains("features"), "{error}");
    let only = entry(0, "", r#","platform":{"os":"linux","architecture":"amd64","os.features":["erofs"]}"#);
    let error =
        index(&format!(r#"{{"schemaVersion":2,"manifests":[{only}]}}"#)).select(&amd64).unwrap_err().to_string();
    assert_eq!(error, "image architecture mismatch: image is for amd64 (os.features erofs) but expected amd64");
}

/// A Windows image runs on all revisions of its build. Other images seldom have a version.
#[test]
fn entries_with_another_version_are_not_candidates() {
    let version = |version: &str| format!(r#","os.version":"{version}""#);
    let versions = [version("22.04"), String::new(), version("24.04")];
    let members: Vec<&str> = versions.iter().map(String::as_str).collect();
    assert_eq!(
        positions_with_members(&wanted("linux/amd64"), &members),
        [1, 0, 2],
        "one for any version is the safest"
    );
    let asked = |version: &str| Platform { os_version: Some(version.into()), ..wanted("linux/amd64") };
    assert_eq!(positions_with_members(&asked("24.04"), &members), [2, 1]);
    assert_eq!(positions_with_members(&asked("20.04"), &members), [1]);

    let windows = |version: &str| {
        format!(
            r#","platform":{{"os":"windows","architecture":"amd64","os.version":"{version}","os.features":["win32k"]}}"#
        )
    };
    let entries = ["10.0.17763.5696", "10.0.20348.2402", "10.0.20348.2322"].map(windows);
    let entries: Vec<String> = entries.iter().enumerate().map(|(size, more)| entry(size, "", more)).collect();
    let index = index(&format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
    let taken = |platform: &Platform| -> Vec<u64> { index.candidates(platform).iter().map(|it| it.size).collect() };
    let any = wanted("windows/amd64");
    assert_eq!(taken(&any), [0, 1, 2], "the order is unchanged");
    assert_eq!(taken(&Platform { os_version: Some("10.0.20348.2322".into()), ..any.clone() }), [2, 1]);
    assert_eq!(taken(&Platform { os_version: Some("10.0.19041.1".into()), ..any }), Vec::<u64>::new());
}

#[test]
fn the_first_candidate_is_selected() {
    let index = samples::index(samples::OCI_INDEX);
    assert_eq!(index.select(&wanted("linux/amd64")).unwrap().size, 1024);
    assert_eq!(index.select(&wanted("linux/arm64")).unwrap().size, 1025);
}

#[test]
fn errors_list_the_available_platforms() {
    let mismatch = |platform: &str, platforms: &[&str]| {
        let error = index_of(platforms).select(&wanted(platform)).unwrap_err();
        assert!(matches!(error, Error::ArchitectureMismatch { .. }));
        error.to_string()
    };
    assert_eq!(
        mismatch(
            "linux/riscv64",
            &["unknown/unknown", "linux/amd64", "linux/arm/v7", "linux/arm64/v8", "linux/x86_64"]
        ),
        "image architecture mismatch: image is for amd64, arm/v7, arm64 but expected riscv64"
    );
    assert_eq!(
        mismatch("linux/arm64", &["windows/amd64", "linux/amd64"]),
        "image architecture mismatch: image is for windows/amd64, linux/amd64 but expected linux/arm64"
    );
    assert_eq!(
        mismatch("linux/arm64", &[]),
        "image architecture mismatch: image is for no known platform but expected arm64"
    );
    let many: Vec<String> = (0..40).map(|n| format!("linux/x{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(mismatch("linux/arm64", &many).contains("x31 and 8 more but expected arm64"));
    match index_of(&many).select(&wanted("linux/arm64")) {
        Err(Error::ArchitectureMismatch { available, .. }) => assert_eq!(available.len(), 40),
        other => panic!("{other:?}"),
    }
}

proptest! {
    /// The order of entries only matters if they are equal.
        #[test]
        fn the_selection_does_not_depend_on_the_order(
        platforms in proptest::sample::subsequence(
            vec!["linux/arm", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/amd64", "windows/arm/v7", "linux/arm64"],
            1..8,
        ).prop_shuffle(),
        platform in "linux/arm(/v[5-8])?",
    ) {
        let chosen = |platforms: &[&str]| {
            index_of(platforms).select(&wanted(&platform)).ok().map(|it| it.platform.clone())
        };
        let mut sorted = platforms.clone();
        sorted.sort_unstable();
        prop_assert_eq!(chosen(&platforms), chosen(&sorted));
    }
}
