//! References between pages.

use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};

use super::name;

/// Commands whose pages a reader of the first one's may want.
const RELATED: [(&str, &[&str]); 43] = [
    ("attest", &["attestations", "sign"]),
    ("attestations", &["attest", "verify-signature"]),
    ("boot", &["export", "mount", "virtiofs"]),
    ("cat", &["ls", "resolve", "stat"]),
    ("commit", &["diff", "history", "mount", "save"]),
    ("config", &["boot", "inspect"]),
    ("copy", &["inspect", "login", "pull", "sync"]),
    ("delete", &["list-tags", "rm", "tag"]),
    ("df", &["gc", "images"]),
    ("diff", &["history", "why"]),
    ("digest", &["inspect", "instances"]),
    ("disk", &["boot", "export", "virtiofs"]),
    ("export", &["boot", "commit", "mount", "virtiofs"]),
    ("gc", &["df", "lease", "rm", "verify"]),
    ("generate-sigstore-key", &["sign"]),
    ("history", &["diff", "inspect", "why"]),
    ("images", &["df", "inspect", "pull", "rm"]),
    ("inspect", &["config", "history", "images"]),
    ("layer", &["export"]),
    ("lease", &["gc", "rm"]),
    ("list-tags", &["repos", "tags"]),
    ("load", &["pull", "save"]),
    ("login", &["logout", "registries"]),
    ("logout", &["login", "registries"]),
    ("ls", &["cat", "mount", "stat"]),
    ("mount", &["commit", "export", "mounts", "umount", "virtiofs"]),
    ("mounts", &["mount", "umount"]),
    ("policy", &["copy", "pull"]),
    ("pull", &["boot", "export", "images", "login", "mount"]),
    ("rm", &["gc", "images"]),
    ("save", &["copy", "load"]),
    ("sign", &["attest", "generate-sigstore-key", "verify-signature"]),
    ("standalone-sign", &["standalone-verify"]),
    ("standalone-verify", &["standalone-sign"]),
    ("sync", &["copy", "list-tags"]),
    ("tag", &["copy", "delete", "images", "untag"]),
    ("tags", &["inspect", "list-tags", "repos"]),
    ("umount", &["mount", "mounts"]),
    ("untag", &["images", "rm", "tag"]),
    ("verify", &["gc", "pull"]),
    ("verity", &["boot", "export"]),
    ("verify-signature", &["policy", "sign"]),
    ("virtiofs", &["boot", "mount"]),
];

/// Writes the section SEE ALSO.
pub(super) fn see_also(command: &Command, roff: &mut Roff) {
    let own = name(command);
    let mut pages = Vec::new();
    // The pages of the commands above, such as vmroot and vmroot-layer.
    let above = own.match_indices('-').map(|(end, _)| own[..end].to_owned());
    let is_page = |page: &String| {
        page == "vmroot"
            || page == "vmroot-disk"
            || page == "vmroot-layer"
            || page == "vmroot-registries"
            || page == "vmroot-policy"
            || page == "vmroot-verity"
    };
    pages.extend(above.filter(is_page).map(|page| (page, "1")));
    let related = RELATED.iter().find(|(command, _)| own.strip_prefix("vmroot-") == Some(*command));
    for related in related.into_iter().flat_map(|(_, related)| *related) {
        pages.push((format!("vmroot-{related}"), "1"));
    }
    pages.push(("vmroot-transports".to_owned(), "7"));
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (position, (page, section)) in pages.into_iter().enumerate() {
        if position > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(page), roman(format!("({section})"))]);
    }
    roff.text(line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;

    #[test]
    fn related_commands_exist() {
        let program = Arguments::program();
        for command in RELATED.iter().flat_map(|(command, related)| [&[*command], *related].concat()) {
            assert!(program.find_subcommand(command).is_some(), "{command}");
        }
    }
}
