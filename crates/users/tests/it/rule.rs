//! Tables of the forms of a user, and of valid and invalid files.

use vmroot_users::{NameOrId, UnknownName, User, UserSpec};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    demo:x:1000:50::/home/demo:/bin/sh\n\
    1000:x:0:0::/root:/bin/sh\n\
    2000:x:7:8::/seven:/bin/sh\n\
    4294967296:x:0:0::/root:/bin/sh\n\
    large:x:4000000000:4000000001::/:\n\
    twin:x:1000:60::/twin:/bin/sh\n\
    demo:x:1:1::/other:/bin/sh\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:\nvideo:x:44:other,demo\n1000:x:0:\n44:x:0:root\naudio:x:29:demo,twin\n\
    again:x:44:demo\nstaff:x:0:\n";

fn find(user: &str) -> Result<User, UnknownName> {
    UserSpec::parse(user).resolve(PASSWD.as_bytes(), GROUP.as_bytes())
}

fn user(uid: u32, gid: u32, groups: &[u32], home: Option<&str>) -> User {
    User { uid, gid, groups: groups.to_vec(), home: home.map(str::to_owned) }
}

#[test]
fn every_form_of_a_user_is_resolved() {
    let demo = |gid: u32| user(1000, gid, &[], Some("/home/demo"));
    let demo_alone = user(1000, 50, &[44, 29], Some("/home/demo"));
    for (text, expected) in [
        ("", user(0, 0, &[0], Some("/root"))),
        ("root", user(0, 0, &[0], Some("/root"))),
        (":staff", user(0, 50, &[], Some("/root"))),
        ("demo", demo_alone.clone()),
        ("demo:", demo_alone.clone()),
        // A hostile image may have entries whose names are numbers and whose ids are root's. A number is always an id.
        ("1000", demo_alone.clone()),
        ("0001000", demo_alone),
        ("1000:1000", demo(1000)),
        ("demo:1000", demo(1000)),
        ("demo:44", demo(44)),
        ("1000:staff", demo(50)),
        ("demo:0044", demo(44)),
        // No entry has this id. One entry has this name.
        ("2000", user(2000, 0, &[], None)),
        ("7", user(7, 8, &[], Some("/seven"))),
        ("4711:4712", user(4711, 4712, &[], None)),
        ("4294967294:4294967294", user(4_294_967_294, 4_294_967_294, &[], None)),
        ("large", user(4_000_000_000, 4_000_000_001, &[], Some("/"))),
        // Two entries have this id. The entry with the name counts.
        ("twin", user(1000, 60, &[29], Some("/twin"))),
    ] {
        assert_eq!(find(text), Ok(expected), "{text:?}");
    }
}

#[test]
fn other_texts_are_unknown_names() {
    // The last one is -1 to the kernel. setresuid(2) would leave the id unchanged, which is root.
    for text in ["nobody", "-1", "+5", " 1000", "1000 ", "1_000", "0x3e8", "4294967296", "99999999999", "4294967295"] {
        assert_eq!(find(text), Err(UnknownName::User(text.to_owned())));
        assert_eq!(find(&format!("demo:{text}")), Err(UnknownName::Group(text.to_owned())));
    }
    assert_eq!(find("demo:staff:x"), Err(UnknownName::Group("staff:x".to_owned())));
    assert_eq!(find("nobody").unwrap_err().to_string(), "no user \"nobody\" in /etc/passwd");
    assert_eq!(find("demo:no").unwrap_err().to_string(), "no group \"no\" in /etc/group");
}

#[test]
fn invalid_lines_are_skipped() {
    let passwd =
        b"#demo:x:1000:1::/comment:\n  # demo:x:1000:1:::\n\n+demo:x:1000:2::/nis:\n-demo:x:1000:3:::\n+::::::\n\
        :x:1000:4:::\ndemo\ndemo:x\ndemo:x:1000\ndemo:x:1000:\ndemo:x::5:::\ndemo:x:-1:6:::\ndemo:x:+1000:7:::\n\
        demo:x: 1000:8:::\ndemo:x:4294967295:9:::\ndemo:x:1000:4294967296:::\n\xff\xfe:x:1000:x:::\n\
        \x20 demo:x:1000:50::/home/demo:/bin/sh\r\nlast:x:12:13";
    let group =
        b"#staff:x:1:\n+staff:x:2:\n+:::\nstaff\nstaff:x\nstaff:x:\nstaff:x:x:\nstaff:x:50: demo , other\r\nlast:x:14";
    let find = |text: &str| UserSpec::parse(text).resolve(passwd, group).unwrap();
    for text in ["demo", "1000"] {
        assert_eq!(find(text), user(1000, 50, &[50], Some("/home/demo")), "{text}");
    }
    assert_eq!(find("1000:staff"), user(1000, 50, &[], Some("/home/demo")));
    assert_eq!(find("last:last"), user(12, 14, &[], None));
    // The names in comments and NIS lines are unknown.
    for text in ["#demo", "+demo", "-demo", "+", ":"] {
        assert!(UserSpec::parse(text).resolve(passwd, group).is_err() || text == ":", "{text}");
    }
}

#[test]
fn a_root_without_the_files_has_only_ids() {
    let find = |text: &str| UserSpec::parse(text).resolve(b"", b"");
    assert_eq!(find(""), Ok(user(0, 0, &[], None)));
    assert_eq!(find("7"), Ok(user(7, 0, &[], None)));
    assert_eq!(find("7:8"), Ok(user(7, 8, &[], None)));
    assert_eq!(find("root"), Err(UnknownName::User("root".to_owned())));
    assert_eq!(find("0:root"), Err(UnknownName::Group("root".to_owned())));
}

#[test]
fn digits_are_parsed_as_ids() {
    assert_eq!(UserSpec::parse("7:a"), UserSpec { user: NameOrId::Id(7), group: Some(NameOrId::Name("a")) });
    assert_eq!(UserSpec::parse(""), UserSpec { user: NameOrId::Id(0), group: None });
}
