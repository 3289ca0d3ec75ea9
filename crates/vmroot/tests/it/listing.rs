//! Images that are listed with conditions, and get and lose names.

use std::path::Path;

use vmroot::{Client, ClientOptions, Digest, ErrorKind, ImageFilter, Platform, Reference};

fn client(directory: &Path) -> Client {
    Client::new(ClientOptions::new(directory)).unwrap()
}

fn reference(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

/// Creates an image without layers.
fn create(client: &Client, architecture: &str, created: Option<&str>, label: &str) -> Digest {
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": { "Labels": { "kind": label, "size": "1" } },
        "rootfs": { "type": "layers" },
    });
    client.create(config.to_string().as_bytes()).unwrap()
}

fn tag(client: &Client, source: &str, names: &[&str]) {
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    client.tag(source, &names, None).unwrap();
}

/// Returns the names and, for images without one, the beginnings of the ids.
fn names(client: &Client, filter: &ImageFilter) -> Vec<String> {
    let images = client.list_images(filter).unwrap();
    images
        .iter()
        .map(|it| it.reference.as_ref().map_or_else(|| it.id().hex()[..6].to_owned(), Reference::familiar))
        .collect()
}

#[test]
fn conditions_are_those_of_docker() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let old = create(&client, "amd64", Some("2020-01-01T00:00:00Z"), "a");
    let middle = create(&client, "arm64", Some("2022-01-01T00:00:00.5Z"), "b");
    let new = create(&client, "amd64", Some("2022-01-01T00:00:00.75+00:00"), "a=b");
    let timeless = create(&client, "arm", None, "c");
    let [parent, dangling] = ["d", "e"].map(|label| create(&client, "amd64", Some("2021-01-01T00:00:00Z"), label));
    client.set_parent(&old, &parent).unwrap();
    tag(&client, &old.to_string(), &["app:old", "team/app"]);
    tag(&client, &middle.hex()[..12], &["app:middle"]);
    tag(&client, &new.to_string(), &["localhost:5000/team/app:new"]);
    tag(&client, &timeless.to_string(), &["timeless"]);
    let short = |id: &Digest| id.hex()[..6].to_owned();
    let (parent, dangling) = (short(&parent), short(&dangling));
    let (app, team, local, timeless) =
        ("app:middle", "team/app:latest", "localhost:5000/team/app:new", "timeless:latest");
    for (conditions, expected) in [
        (&[][..], vec!["app:middle", "app:old", timeless, team, local, &dangling]),
        (&["reference=app"], vec!["app:middle", "app:old"]),
        (&["reference=app:old"], vec!["app:old"]),
        (&["reference=*:old", "reference=*:middle"], vec!["app:middle", "app:old"]),
        (&["reference=*app"], vec!["app:middle", "app:old"]),
        (&["reference=*/app"], vec![team]),
        (&["reference=*/*/app"], vec![local]),
        (&["reference=docker.io/library/app:o[a-z]d"], vec!["app:old"]),
        (&["reference=nothing"], vec![]),
        (&["dangling=true"], vec![&*dangling]),
        (&["dangling=false"], vec!["app:middle", "app:old", timeless, team, local]),
        (&["platform=linux/arm64"], vec![app]),
        (&["platform=arm64", "platform=linux/arm"], vec![app, timeless]),
        (&["before=app:middle"], vec!["app:old", timeless, team, &dangling]),
        (&["since=app:old"], vec![app, local, &dangling]),
        (&["since=app:old", "before=app:middle"], vec![&*dangling]),
        (&["since=app:middle"], vec![local]),
        (&["since=timeless"], vec![app, "app:old", team, local, &dangling]),
        (&["until=2021-06-01"], vec!["app:old", timeless, team, &dangling]),
        (&["until=2020-01-01T00:00:00Z"], vec![timeless]),
        (&["until=1h"], vec!["app:middle", "app:old", timeless, team, local, &dangling]),
        (&["label=kind=a"], vec!["app:old", team]),
        (&["label=kind=a=b"], vec![local]),
        (&["label=kind", "label=size=1", "reference=app"], vec![app, "app:old"]),
        (&["label=size=2"], vec![]),
        (&["label!=kind=a", "dangling=false"], vec![app, timeless, local]),
        (&["label=kind!=a", "dangling=false"], vec![app, timeless, local]),
        (&["label!=size"], vec![]),
        (&["label=kind=a", "reference=team/*"], vec![team]),
        (&[" Reference =app:old"], vec!["app:old"]),
    ] {
        let filter =
            conditions.iter().try_fold(ImageFilter::new(), |filter, condition| filter.condition(condition)).unwrap();
        assert_eq!(names(&client, &filter), expected, "{conditions:?}");
    }
    let all = names(&client, &ImageFilter::new().all());
    assert!(all.len() == 7 && all.contains(&parent), "{all:?}");
    for invalid in
        ["reference", "reference=", "reference=[", "dangling=maybe", "before=", "until=soon", "label=", "size=1"]
    {
        assert!(ImageFilter::new().condition(invalid).is_err(), "{invalid}");
    }
    let unknown = ImageFilter::new().condition("before=unknown").unwrap();
    assert_eq!(client.list_images(&unknown).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn names_are_given_moved_and_taken() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [a, b] = ["a", "b"].map(|label| create(&client, "amd64", None, label));
    tag(&client, &a.to_string(), &["one", "two:2"]);
    let tagged =
        client.tag(&b.to_string(), &[reference("one"), reference("one:latest"), reference("three")], None).unwrap();
    assert_eq!(tagged.moved.len(), 1);
    assert_eq!((tagged.moved[0].from, tagged.moved[0].to, tagged.moved[0].dangling), (a, b, false));
    assert_eq!(names(&client, &ImageFilter::new()), ["one:latest", "three:latest", "two:2"]);
    let moved = client.tag("three", &[reference("two:2")], None).unwrap().moved;
    assert!(moved.len() == 1 && moved[0].dangling, "{moved:?}");
    assert_eq!(names(&client, &ImageFilter::new().condition("dangling=true").unwrap()), [a.hex()[..6].to_owned()]);
    // An image that has the name already stays as it is.
    assert!(client.tag("three", &[reference("two:2")], None).unwrap().moved.is_empty());

    for name in ["one", "two:2"] {
        assert_eq!(client.untag(&reference(name), None).unwrap().dangling, []);
        assert_eq!(client.untag(&reference(name), None).unwrap_err().kind(), ErrorKind::NotFound);
    }
    let untagged = client.untag(&reference("three:latest"), None).unwrap();
    assert_eq!((untagged.records.len(), untagged.dangling), (1, vec![b]));
    assert_eq!(client.len().unwrap(), 2);
    client.get(&b).unwrap();

    for (source, kind) in [("unknown", ErrorKind::NotFound), ("a b", ErrorKind::Usage)] {
        assert_eq!(client.tag(source, &[reference("x")], None).unwrap_err().kind(), kind, "{source}");
    }
    let by_digest = reference(&format!("x@{a}"));
    assert_eq!(client.tag(&a.to_string(), &[by_digest], None).unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn all_platforms_of_a_name_are_tagged() {
    let directory = tempfile::tempdir().unwrap();
    let client = client(directory.path());
    let [amd64, arm64] = ["amd64", "arm64"].map(|architecture| create(&client, architecture, None, ""));
    // A name for two platforms.
    for id in [amd64, arm64] {
        tag(&client, &id.to_string(), &["app:1"]);
    }
    assert_eq!(client.tag("app:1", &[reference("app:2")], None).unwrap().records.len(), 2);
    let arm = Platform::linux("arm64").unwrap();
    let tagged = client.tag("app:1", &[reference("app:3")], Some(&arm)).unwrap();
    assert_eq!((tagged.records.len(), *tagged.records[0].id()), (1, arm64));
    assert!(
        client
            .tag("app:1", &[reference("x")], Some(&Platform::linux("s390x").unwrap()))
            .unwrap_err()
            .is_for_other_platforms()
    );
    let untagged = client.untag(&reference("app:1"), Some(&arm)).unwrap();
    assert_eq!((untagged.records.len(), untagged.dangling.len()), (1, 0));
    let error = client.untag(&reference("app:1"), Some(&arm)).unwrap_err();
    assert!(error.is_for_other_platforms(), "{error}");
    assert_eq!(client.untag(&reference("app:2"), None).unwrap().records.len(), 2);
    assert_eq!(names(&client, &ImageFilter::new()), ["app:1", "app:3"]);
    assert_eq!(client.untag(&reference("app:3"), None).unwrap().dangling, [arm64]);
}
