//! The options that skopeo has before its verbs, with their names and meanings.

use std::time::Duration;

use clap::Args;
use vmroot::Platform;

use super::quantity::parse_duration;
use crate::environment::this_platform;

/// The options by which skopeo chooses a platform.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OverrideArguments {
    /// Use the image for this operating system, as skopeo's option of this name [default: this machine's]
    #[arg(long, global = true, value_name = "OS", conflicts_with_all = ["platform", "arch"], hide_short_help = true)]
    pub(crate) override_os: Option<String>,
    /// Use the image for this architecture, as skopeo's option of this name [default: this machine's]
    #[arg(long, global = true, value_name = "ARCH", conflicts_with_all = ["platform", "arch"], hide_short_help = true)]
    pub(crate) override_arch: Option<String>,
    /// Use the image for this variant of the architecture, as skopeo's option of this name
    #[arg(long, global = true, value_name = "VARIANT", conflicts_with_all = ["platform", "arch"], hide_short_help = true)]
    pub(crate) override_variant: Option<String>,
}

impl OverrideArguments {
    /// Returns whether one of the options is given.
    pub(crate) fn is_given(&self) -> bool {
        let options = [&self.override_os, &self.override_arch, &self.override_variant];
        options.into_iter().flatten().any(|text| !text.is_empty())
    }

    /// Returns the platform of `--override-os`, `--override-arch` and `--override-variant`. Other parts are this
    /// machine's.
    ///
    /// # Errors
    /// A part has other characters than names have.
    pub(crate) fn platform(&self) -> Result<Option<Platform>, String> {
        // As in skopeo, an empty text stands for no option.
        let given = |option: &Option<String>| option.clone().filter(|text| !text.is_empty());
        let (os, architecture) = (given(&self.override_os), given(&self.override_arch));
        let variant = given(&self.override_variant);
        if os.is_none() && architecture.is_none() && variant.is_none() {
            return Ok(None);
        }
        let host = this_platform();
        // As in skopeo, the variant of this machine is for its own architecture only.
        let variant = variant.or(host.variant.filter(|_| architecture.is_none()));
        let mut parts = vec![os.unwrap_or(host.os), architecture.unwrap_or(host.architecture)];
        // `--override-arch arm/v7` has the variant, too.
        parts.extend(variant.clone());
        let platform = Platform::parse(&parts.join("/")).map_err(|error| error.to_string())?;
        // Parsing removes the variant of a baseline, such as `v8` of arm64. Here it makes a difference: an image with
        // the variant is better than one without.
        Ok(Some(Platform { variant: variant.or(platform.variant), ..platform }))
    }
}

/// The options of skopeo's verbs for retries.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RetryArguments {
    /// Retry a failed request this many times [same as --retries]
    #[arg(long, value_name = "N")]
    pub(crate) retry_times: Option<u32>,
    /// Wait this long before each retry, such as 5s [default: 250ms, and twice as long before each further one]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) retry_delay: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overridden_parts_join_the_hosts() {
        let platform = |os: Option<&str>, arch: Option<&str>, variant: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let arguments =
                OverrideArguments { override_os: own(os), override_arch: own(arch), override_variant: own(variant) };
            arguments.platform().map(|platform| platform.map(|platform| platform.to_string()))
        };
        let host = Platform::host();
        assert_eq!(platform(None, None, None), Ok(None));
        assert_eq!(platform(Some("linux"), Some("arm"), Some("v7")), Ok(Some("linux/arm/v7".to_owned())));
        assert_eq!(platform(Some("linux"), Some("arm/v6"), None), Ok(Some("linux/arm/v6".to_owned())));
        assert_eq!(platform(Some("windows"), None, None), Ok(Some(format!("windows/{}", host.architecture))));
        assert_eq!(platform(None, Some("s390x"), None), Ok(Some(format!("{}/s390x", host.os))));
        assert_eq!(platform(Some("linux"), Some("arm64"), Some("v8")), Ok(Some("linux/arm64/v8".to_owned())));
        assert_eq!(platform(None, Some("amd64"), Some("v1")), Ok(Some(format!("{}/amd64/v1", host.os))));
        assert_eq!(platform(Some(""), Some(""), Some("")), Ok(None));
        assert!(platform(Some("x y"), None, None).is_err());
        assert!(platform(None, Some("arm/v7"), Some("v6")).is_err());
    }
}
