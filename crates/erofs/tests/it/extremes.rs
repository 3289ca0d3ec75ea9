//! Roots at the limits of the format, and omissions beyond them.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use vmroot_erofs::{ErofsOptions, Error, write_erofs};
use vmroot_output::Omitted;
use vmroot_test_roots::Root;
use vmroot_testkit::layer::Entry;
use vmroot_testkit::sample::noise;

use super::fixture::{
    Mounted, above_4_gib, assert_above_4_gib, assert_same_as_model, cannot_mount, devices, image, listing, meta,
};

#[test]
fn a_directory_of_100_000_entries() {
    if cannot_mount() {
        return;
    }
    let entries = (0..100_000).map(|number| Entry::file(format!("large/{number:06}-{}", "n".repeat(number % 90)), ""));
    let root = Root::of_entries(entries);
    // Both kinds of image write directories alike.
    let (path, meta) = meta(&root);
    root.expected().assert_same(&listing(&path, &devices(&meta)));
}

#[test]
fn a_file_above_4_gib() {
    if cannot_mount() {
        return;
    }
    let root = Root::of_entries([above_4_gib()]);
    let (meta_path, meta) = meta(&root);
    let image = image(&root);
    let metadata = fs::metadata(&image).unwrap();
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks: holes are not holes", metadata.blocks());
    for mounted in [Mounted::new(&image, &[]), Mounted::new(&meta_path, &devices(&meta))] {
        assert_above_4_gib(&mounted);
    }
}

#[test]
fn more_hard_links_than_16_bits_can_count() {
    if cannot_mount() {
        return;
    }
    for links in [65_535, 65_537] {
        let names = (1..links).map(|number| Entry::hard_link(format!("links/{number}"), "first"));
        let root = Root::of_entries(std::iter::once(Entry::file("first", noise(1, 5000))).chain(names));
        let (path, meta) = meta(&root);
        for mounted in [Mounted::new(&image(&root), &[]), Mounted::new(&path, &devices(&meta))] {
            let first = fs::metadata(mounted.path().join("first")).unwrap();
            assert_eq!(first.nlink(), links);
            let last = fs::metadata(mounted.path().join(format!("links/{}", links - 1))).unwrap();
            assert_eq!(last.ino(), first.ino());
            assert_eq!(fs::read_dir(mounted.path().join("links")).unwrap().count() as u64, links - 1);
        }
    }
}

#[test]
fn symlinks_of_every_length_around_a_block() {
    if cannot_mount() {
        return;
    }
    let lengths = [1, 59, 60, 300, 1000, 3968, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4094, 4095];
    let links = lengths.into_iter().flat_map(|length| {
        // The long form, the short form, and xattrs after the inode.
        let link = |name: &str| Entry::symlink(format!("{name}-{length}"), "x".repeat(length));
        [link("short"), link("long").owner(100_000, 0), link("labelled").xattr("security.testkit", noise(2, 60))]
    });
    assert_same_as_model(&Root::of_entries(links));
}

#[test]
fn long_xattrs_and_many_xattrs() {
    if cannot_mount() {
        return;
    }
    let mut many = Entry::file("many", "x");
    for number in 0..700 {
        many = many.xattr(format!("user.{number}"), noise(number, 30));
    }
    let mut large = Entry::directory("large");
    for number in 0..14 {
        large = large.xattr(format!("trusted.{number}"), noise(number, 65_535));
    }
    let mut middling = Entry::file("middling", noise(4, 6000));
    for number in 0..250 {
        middling = middling.xattr(format!("user.{number}"), noise(number + 1000, 1000));
    }
    let shared = |number: u64| {
        let file = Entry::file(format!("shared/{number}"), noise(number, 100));
        (0..number % 40).fold(file, |file, one| file.xattr(format!("user.shared{one}"), noise(one, 200)))
    };
    let entries = [many, large, middling].into_iter().chain((0..400).map(shared));
    assert_same_as_model(&Root::of_entries(entries));
}

#[test]
fn directories_nested_up_to_the_limit() {
    if cannot_mount() {
        return;
    }
    let path = vec!["d"; 1000].join("/");
    assert_same_as_model(&Root::of_entries([Entry::file(format!("{path}/file"), "deep")]));
}

/// Returns the omissions of an entry, which must be the same for both kinds of image. The kernel still mounts both.
fn left_out(entry: Entry) -> Vec<String> {
    let root = Root::of_entries([Entry::file("fine", "x"), entry]);
    let (path, meta) = meta(&root);
    let image = root.files().join("image");
    let write = |strict| {
        let options = ErofsOptions { strict, ..ErofsOptions::default() };
        write_erofs(&root.fs, &File::create(&image).unwrap(), &options)
    };
    let strict = write(true).unwrap_err();
    assert!(matches!(strict, Error::Incomplete(_)), "{strict}");
    assert_eq!(fs::metadata(&image).unwrap().len(), 0, "nothing is written");
    let report = write(false).unwrap();
    assert_eq!(report.omissions, meta.report.omissions);
    if !cannot_mount() {
        let mut wanted = root.expected();
        for one in &report.omissions.listed {
            let Omitted::Xattr(name) = &one.what else { panic!("{one}") };
            let row = wanted.rows.get_mut(one.path.as_os_str().as_bytes()).unwrap();
            assert!(row.xattrs.remove(&name.to_vec()).is_some(), "{one}");
        }
        wanted.assert_same(&listing(&image, &[]));
        wanted.assert_same(&listing(&path, &devices(&meta)));
    }
    report.omissions.listed.iter().map(ToString::to_string).collect()
}

#[test]
fn xattrs_without_room_are_left_out_and_listed() {
    let large = Entry::file("dir/file", "x").xattr("user.large", vec![1; 65_536]).xattr("user.kept", "1");
    let reason = "it has 65536 bytes, and EROFS has values of at most 65535";
    assert_eq!(left_out(large), [format!("dir/file: xattr \"user.large\" ({reason})")]);
    let crowded = (0..400).fold(Entry::file("dir/crowded", "x"), |file, number| {
        file.xattr(format!("user.{number}"), noise(number, 2400))
    });
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let crowded = left_out(crowded.xattr("security.capability", capability));
    // 255 of the 400 are shared, and 107 of the others fit.
    assert!(crowded.len() > 30 && crowded.len() < 50, "{}", crowded.len());
    assert!(crowded.iter().all(|one| one.starts_with("dir/crowded: xattr \"user.")), "{crowded:?}");
}

/// Tars from macOS contain `com.apple.*`, and those of servers with NFS or ZFS `system.nfs4_acl`.
#[test]
fn xattrs_of_unknown_prefixes_are_left_out_and_listed() {
    for name in ["system.nfs4_acl", "com.apple.quarantine", "user.", "system.posix_acl_access2", "lustre.lov"] {
        let entry = Entry::file("dir/file", "x").xattr(name, "value").xattr("user.ok", "kept");
        let reason = "EROFS has only user.*, trusted.*, security.* and access control lists";
        assert_eq!(left_out(entry), [format!("dir/file: xattr \"{name}\" ({reason})")]);
    }
}

/// The kernel denies access to a file whose access control list it cannot read.
#[test]
fn an_invalid_access_control_list_is_left_out() {
    let entry = Entry::file("dir/file", "x").xattr("system.posix_acl_access", "no list");
    assert_eq!(
        left_out(entry),
        ["dir/file: xattr \"system.posix_acl_access\" (it is not a valid access control list)"]
    );
}
