//! Tests of platforms: printing is the inverse of parsing, and normalising is idempotent.

use proptest::prelude::*;
use vmroot_model::Platform;

proptest! {
    #[test]
    fn printing_a_parsed_platform_gives_an_equal_platform(
        os in "linux|windows|[a-zA-Z][a-z0-9_.-]{0,6}",
        architecture in "amd64|x86_64|aarch64|arm|armhf|armel|armv[4-9][a-z]{0,3}|i[3-7]86|[a-zA-Z0-9_.-]{1,8}",
        variant in "|/v?[0-9](\\.[0-9])?|/[a-zA-Z0-9_.-]{1,5}",
    ) {
        let platform = Platform::parse(&format!("{os}/{architecture}{variant}")).unwrap();
        prop_assert_eq!(&Platform::parse(&platform.to_string()).unwrap(), &platform);
        prop_assert_eq!(&platform.normalised(), &platform);
        let json = serde_json::to_string(&platform).unwrap();
        prop_assert_eq!(serde_json::from_str::<Platform>(&json).unwrap(), platform);
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,30}") {
        if let Ok(platform) = Platform::parse(&text) {
            prop_assert_eq!(Platform::parse(&platform.to_string()).unwrap(), platform);
        }
        let _ = Platform::linux(&text);
    }
}
