//! The variant of the machine's CPU, by the text of `/proc/cpuinfo`.

use crate::Platform;

impl Platform {
    /// Returns the platform of this program with the variant of the CPU, for arm and arm64 on Linux.
    ///
    /// `cpuinfo` is the text of `/proc/cpuinfo`. An unknown or missing architecture in it gives no variant.
    #[must_use]
    pub fn host_with_variant(cpuinfo: &str) -> Self {
        let host = Self::host();
        let variant = cpu_variant(&host.architecture, cpuinfo).map(str::to_owned);
        Self { variant: variant.or(host.variant.clone()), ..host }
    }
}

/// Returns the variant that a CPU has, or `None` for architectures other than arm and arm64 and for unknown CPUs.
fn cpu_variant(architecture: &str, cpuinfo: &str) -> Option<&'static str> {
    if architecture != "arm" && architecture != "arm64" {
        return None;
    }
    match field(cpuinfo, "cpu architecture")?.to_ascii_lowercase().as_str() {
        "8" | "aarch64" => Some("v8"),
        // The kernel's number for the memory model. It says 7 for the ARMv6 of the first Raspberry Pi, too.
        "7" => {
            let model = field(cpuinfo, "model name")?.to_ascii_lowercase();
            Some(if model.starts_with("armv6-compatible") { "v6" } else { "v7" })
        }
        "7m" | "?(12)" | "?(13)" | "?(14)" | "?(15)" | "?(16)" | "?(17)" => Some("v7"),
        "6" | "6tej" => Some("v6"),
        "5" | "5t" | "5te" | "5tej" => Some("v5"),
        "4" | "4t" => Some("v4"),
        "3" => Some("v3"),
        _ => None,
    }
}

/// Returns the first value of a field, without spaces around it. The case of the name does not count.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_is_that_of_the_first_cpu() {
        let cpu = |architecture: &str, model: &str| {
            format!("processor\t: 0\nmodel name\t: {model}\nCPU architecture: {architecture}\n\nCPU architecture: 3\n")
        };
        for (architecture, model, variant) in [
            ("8", "ARMv8 Processor rev 4 (v8l)", Some("v8")),
            ("AArch64", "x", Some("v8")),
            ("7", "ARMv7 Processor rev 4 (v7l)", Some("v7")),
            ("7", "ARMv6-compatible processor rev 7 (v6l)", Some("v6")),
            ("7M", "x", Some("v7")),
            ("?(14)", "x", Some("v7")),
            ("6TEJ", "x", Some("v6")),
            ("5TE", "x", Some("v5")),
            ("4T", "x", Some("v4")),
            ("3", "x", Some("v3")),
            ("9", "x", None),
            ("", "x", None),
        ] {
            let cpuinfo = cpu(architecture, model);
            assert_eq!(cpu_variant("arm", &cpuinfo), variant, "{architecture}");
            assert_eq!(cpu_variant("arm64", &cpuinfo), variant, "{architecture}");
            assert_eq!(cpu_variant("amd64", &cpuinfo), None);
        }
        assert_eq!(cpu_variant("arm", "CPU architecture: 7\n"), None);
        assert_eq!(cpu_variant("arm", ""), None);
        assert_eq!(Platform::host_with_variant("").architecture, Platform::host().architecture);
    }
}
