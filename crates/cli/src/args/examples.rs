//! The examples at the end of each command's help, and of its page of the manual.

/// The examples of the commands. A line that begins with `#` explains the line after it.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "pull",
        "# The image for this machine, and the one for arm64\n\
         vmroot pull alpine:3.20\n\
         vmroot pull --arch arm64 alpine:3.20\n\
         # An image that a build wrote as an OCI layout\n\
         vmroot pull oci:build/layout:app",
    ),
    (
        "load",
        "# Images of the Docker engine\n\
         docker save app:1 | vmroot load -\n\
         # One image of an archive with several\n\
         vmroot load images.tar --image app:1",
    ),
    (
        "save",
        "vmroot save alpine:3.20 -o alpine.tar\n\
         # Two images for another platform, as an OCI archive\n\
         vmroot save app:1 app:2 --platform linux/arm64 --format oci-archive -o app.tar",
    ),
    (
        "commit",
        "# One more layer, and a new name\n\
         vmroot commit alpine:3.20 layer.tar --tag app:1\n\
         # The changes of a writable mount\n\
         vmroot commit alpine:3.20 --from-upper upper --tag app:1\n\
         # Another command, without a layer\n\
         vmroot commit app:1 --change 'CMD [\"/bin/app\"]' --tag app:2",
    ),
    (
        "copy",
        "# From one registry to another, for all platforms\n\
         vmroot copy --all docker://docker.io/library/alpine:3.20 docker://registry.example/alpine:3.20\n\
         # To a directory, without the cache\n\
         vmroot copy docker://alpine:3.20 oci:mirror:alpine\n\
         # From the cache, with a user for the destination\n\
         vmroot copy --dest-creds me:secret vmroot:app:1 docker://registry.example/app:1",
    ),
    (
        "sync",
        "# All tags of a repository, to a directory and on to another registry\n\
         vmroot sync --src docker --dest dir registry.example/app mirror\n\
         vmroot sync --src dir --dest docker mirror other.example/mirror\n\
         # The images that a file lists\n\
         vmroot sync --src yaml --dest docker --keep-going images.yaml other.example/mirror",
    ),
    (
        "images",
        "vmroot images\n\
         # Only some names, or one platform\n\
         vmroot images 'team/*'\n\
         vmroot images --platform linux/arm64\n\
         # The ids of images that are a month old\n\
         vmroot images --quiet --filter until=720h",
    ),
    (
        "inspect",
        "vmroot inspect alpine:3.20\n\
         vmroot inspect --json alpine:3.20\n\
         # One field, without a pull\n\
         vmroot inspect --no-tags --format '{{.Digest}}' docker://alpine:3.20",
    ),
    (
        "config",
        "vmroot config alpine:3.20\n\
         # The config as the image has it\n\
         vmroot config --raw alpine:3.20",
    ),
    (
        "history",
        "vmroot history alpine:3.20\n\
         # Whole commands\n\
         vmroot history --no-trunc --format '{{.Size}} {{.CreatedBy}}' alpine:3.20",
    ),
    (
        "diff",
        "vmroot diff app:1 app:2\n\
         # For a script: whether anything differs\n\
         vmroot diff --exit-code --quiet app:1 app:2",
    ),
    ("why", "vmroot why app:1 /etc/passwd\nvmroot why --json app:1 /usr/bin/python3"),
    (
        "ls",
        "vmroot ls alpine:3.20\n\
         vmroot ls -l alpine:3.20 /etc\n\
         # A file that docker save wrote\n\
         vmroot ls -R docker-archive:image.tar /etc",
    ),
    ("cat", "vmroot cat alpine:3.20 /etc/os-release\nvmroot cat alpine:3.20 /etc/passwd /etc/group"),
    (
        "stat",
        "vmroot stat alpine:3.20 /bin/busybox\n\
         # The file that a link points to\n\
         vmroot stat -L alpine:3.20 /bin/sh",
    ),
    ("readlink", "vmroot readlink alpine:3.20 /bin/sh\nvmroot readlink --json alpine:3.20 /bin/sh"),
    (
        "cp",
        "vmroot cp alpine:3.20:/etc/passwd .\n\
         # A directory, with the owners of the image\n\
         vmroot cp --archive alpine:3.20:/etc etc\n\
         # As a tar\n\
         vmroot cp alpine:3.20:/usr/share - | tar -t",
    ),
    ("resolve", "vmroot resolve debian:12 /bin/sh\nvmroot resolve debian:12 lib64"),
    (
        "mount",
        "# In the background\n\
         vmroot mount --detach alpine:3.20 /mnt\n\
         # Writable, as root, with the changes in upper\n\
         vmroot mount --detach --upper upper --work work alpine:3.20 /mnt\n\
         # Writable, with the changes of a guest on its disk\n\
         vmroot mount --detach --upper web.ext4 alpine:3.20 /mnt\n\
         # With a file of this machine\n\
         vmroot mount --detach --add app:/usr/bin/app:755 alpine:3.20 /mnt",
    ),
    (
        "umount",
        "vmroot umount /mnt\n# Now, even if it is in use, and with its directory\nvmroot umount --lazy --rmdir /mnt",
    ),
    ("mounts", "vmroot mounts\n# Only the directories\nvmroot mounts --quiet"),
    (
        "export",
        "# As a disk for a guest\n\
         vmroot export alpine:3.20 root.ext4 --free 1G\n\
         vmroot export alpine:3.20 root.erofs --compress lz4\n\
         # As a directory, without the rights of root\n\
         vmroot export alpine:3.20 root --format dir --rootless\n\
         # As a tar for another program\n\
         vmroot export alpine:3.20 - | tar -x -C root",
    ),
    (
        "virtiofs",
        "vmroot virtiofs alpine:3.20 --socket /tmp/root.socket\n\
         # For a guest of another architecture\n\
         vmroot virtiofs --arch arm64 alpine:3.20 --socket /tmp/root.socket",
    ),
    (
        "disk serve",
        "# To VMMs, as a virtio block device\n\
         vmroot disk serve alpine:3.20 --vhost-user /tmp/root.socket\n\
         # To NBD clients\n\
         vmroot disk serve alpine:3.20 --nbd /tmp/root.nbd\n\
         # As the file /mnt/root.img\n\
         vmroot disk serve alpine:3.20 --fuse /mnt",
    ),
    (
        "boot",
        "vmroot boot alpine:3.20 --kernel /boot/vmlinuz\n\
         # Another command, more memory, and a writable root\n\
         vmroot boot alpine:3.20 --kernel vmlinuz --via ext4 --memory 2G -- /bin/sh -c 'echo hello'\n\
         # A guest that keeps its changes, with a network\n\
         vmroot boot alpine:3.20 --kernel vmlinuz --upper web.ext4 --net user --publish 8080:80\n\
         # The files and the command line for another machine\n\
         vmroot boot alpine:3.20 --kernel vmlinuz --output guest",
    ),
    (
        "tag",
        "vmroot tag alpine:3.20 base:1 base:latest\n\
         # In a registry, without a download\n\
         vmroot tag docker://registry.example/app:1 stable",
    ),
    ("untag", "vmroot untag base:1\n# Only the name of the image for arm64\nvmroot untag --arch arm64 base:1"),
    (
        "rm",
        "vmroot rm alpine:3.20\n\
         # The image for another platform\n\
         vmroot rm --arch arm64 alpine:3.20\n\
         # All names of an image\n\
         vmroot rm 4bcff63911fc",
    ),
    (
        "gc",
        "# What would be removed\n\
         vmroot gc --dry-run --dangling\n\
         # Images that were not used for a week\n\
         vmroot gc --older-than 7d\n\
         vmroot gc --max-size 20G",
    ),
    ("df", "vmroot df\nvmroot df alpine:3.20\n# All images, layers and roots\nvmroot df --images"),
    (
        "lease create",
        "# For the time of a build\n\
         vmroot lease create --id build-7 --expire 2h alpine:3.20 app:1",
    ),
    ("lease list", "vmroot lease list\nvmroot lease list --json"),
    ("lease release", "vmroot lease release build-7"),
    (
        "verify",
        "vmroot verify\n\
         # Fetch damaged blobs again\n\
         vmroot verify --repair\n\
         vmroot verify --empty-quarantine",
    ),
    (
        "login",
        "vmroot login registry.example\n\
         # For a script\n\
         vmroot login --username me --password-stdin registry.example < token",
    ),
    ("logout", "vmroot logout registry.example\nvmroot logout --all"),
    ("tags", "vmroot tags quay.io/podman/stable\nvmroot tags --json alpine"),
    ("list-tags", "vmroot list-tags docker://alpine\nvmroot list-tags docker-archive:images.tar"),
    ("repos", "vmroot repos localhost:5000"),
    ("instances", "vmroot instances quay.io/podman/stable"),
    (
        "digest",
        "vmroot digest alpine:3.20\n\
         # A registry that speaks plain HTTP\n\
         vmroot digest --tls-verify=false registry.example/app:1",
    ),
    (
        "referrers",
        "vmroot referrers registry.example/app:1\n\
         vmroot referrers --artifact-type application/spdx+json registry.example/app:1",
    ),
    ("delete", "vmroot delete docker://registry.example/app:1\nvmroot delete oci:mirror:alpine"),
    ("manifest-digest", "vmroot manifest-digest manifest.json"),
    (
        "registries explain",
        "vmroot registries explain alpine\nvmroot registries explain docker://registry.example/app:1",
    ),
    (
        "policy explain",
        "vmroot policy explain alpine:3.20\n\
         vmroot policy explain --policy policy.json docker://registry.example/app:1",
    ),
    ("policy check", "vmroot policy check alpine:3.20"),
    (
        "provenance",
        "vmroot provenance alpine:3.20\n\
         # With the root hash of the disk that an export writes\n\
         vmroot provenance --policy policy.json --format ext4 --json registry.example/app:1",
    ),
    ("sign", "vmroot sign --key cosign.key registry.example/app:1"),
    ("verify-signature", "vmroot verify-signature --key cosign.pub registry.example/app:1"),
    ("attest", "vmroot attest --key cosign.key --type spdxjson --predicate app.spdx.json registry.example/app:1"),
    ("attestations", "vmroot attestations --key cosign.pub --json registry.example/app:1"),
    (
        "standalone-sign",
        "vmroot standalone-sign manifest.json registry.example/app:1 release@example.org -o signature-1",
    ),
    (
        "standalone-verify",
        "vmroot standalone-verify --public-key-file key.gpg manifest.json quay.io/app:1 any signature-1",
    ),
    ("generate-sigstore-key", "vmroot generate-sigstore-key --output-prefix release"),
    (
        "layer index",
        "vmroot layer index layer.tar.gz --output layers\n\
         # Of a pipe\n\
         zcat layer.tar.gz | vmroot layer index - --output layers",
    ),
    ("layer verify", "vmroot layer verify layers/4bcff639.idx"),
    ("layer dump", "vmroot layer dump layers/4bcff639.idx | less"),
    (
        "disk create",
        "# An empty disk, for what a guest writes\n\
         vmroot disk create data.ext4 --size 8G\n\
         # A writable disk with the root of an image\n\
         vmroot disk create root.ext4 --size 8G --from alpine:3.20",
    ),
    ("disk grow", "vmroot disk grow data.ext4 --size 16G"),
    (
        "disk clone",
        "vmroot disk clone data.ext4 guest-1.ext4\n\
         # With a UUID of its own, for two disks in one guest\n\
         vmroot disk clone --random-id data.ext4 guest-2.ext4",
    ),
    ("disk info", "vmroot disk info data.ext4\nvmroot disk info --json data.ext4"),
    (
        "disk ls",
        "vmroot disk ls data.ext4\n\
         # The files that a guest has changed\n\
         vmroot disk ls -l web.ext4 /upper",
    ),
    ("disk cat", "vmroot disk cat web.ext4 /upper/etc/hostname"),
    (
        "verity format",
        "vmroot verity format root.erofs\n\
         # After the image, in the same file\n\
         vmroot verity format --append root.ext4",
    ),
    (
        "verity verify",
        "vmroot verity verify root.erofs root.erofs.verity $ROOT_HASH\n\
         # And whether it is the root of an image\n\
         vmroot verity verify alpine:3.20 root.erofs $ROOT_HASH",
    ),
    ("verity dump", "vmroot verity dump root.erofs.verity"),
    (
        "completions",
        "# For this shell, and for each later one\n\
         source <(vmroot completions bash)\n\
         vmroot completions bash > ~/.local/share/bash-completion/completions/vmroot\n\
         vmroot completions fish > ~/.config/fish/completions/vmroot.fish\n\
         vmroot completions zsh > ~/.zfunc/_vmroot",
    ),
    ("man", "vmroot man man1\nman -l man1/vmroot-pull.1"),
];

/// Returns the section with the examples of a command. `path` is its name with that of the command above it.
pub(super) fn section(path: &str) -> Option<String> {
    let (_, examples) = EXAMPLES.iter().find(|(command, _)| *command == path)?;
    let lines: Vec<String> = examples.lines().map(|line| format!("  {line}")).collect();
    Some(format!("Examples:\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::super::Arguments;
    use super::super::verbs::SUBJECTS;
    use super::*;

    /// Splits a command as a shell does: at spaces, except between single quotes, and up to a pipe or a redirection.
    fn words(command: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for letter in command.chars() {
            match letter {
                '\'' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                '|' | '<' | '>' | ')' if !is_quoted => break,
                letter => words.last_mut().unwrap().push(letter),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn each_command_has_examples_that_parse() {
        let mut paths: Vec<&str> = SUBJECTS.iter().flat_map(|(_, verbs)| *verbs).map(|(path, ..)| *path).collect();
        let mut with_examples: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        paths.sort_unstable();
        with_examples.sort_unstable();
        assert_eq!(with_examples, paths);
        for (path, examples) in EXAMPLES {
            let mut parsed = 0;
            for line in examples.lines().filter(|line| !line.starts_with('#')) {
                let Some(at) = line.find(&format!("vmroot {path}")) else {
                    assert!(line.starts_with("man -l "), "{path}: {line}");
                    continue;
                };
                let command = &line[at..].replace("$ROOT_HASH", &"0".repeat(64));
                if let Err(error) = Arguments::parse_words(words(command).into_iter().map(Into::into)) {
                    panic!("{command}: {error}");
                }
                parsed += 1;
            }
            assert!((1..=4).contains(&parsed), "{path}");
        }
    }

    /// Help has 100 columns where it is not printed to a terminal. A line that is wrapped cannot be copied.
    #[test]
    fn examples_are_not_wrapped() {
        for line in EXAMPLES.iter().flat_map(|(_, examples)| examples.lines()) {
            assert!(line.len() <= 98, "{line}");
        }
    }
}
