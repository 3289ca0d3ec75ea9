//! Lists of tags and repositories.

use std::time::{Duration, UNIX_EPOCH};

use vmroot_errors::ErrorKind;
use vmroot_model::{Digest, MediaType};
use vmroot_registry::{Error, ListedInstance};
use vmroot_testkit::registry::{Fault, Features, Registry, Rule};

use crate::fixture::{Fixture, MANIFEST, MANIFEST_TYPE, NAME, assert_message, client};

const TAGS: &str = "/tags/list";

const CATALOG: &str = "/v2/_catalog";

fn body(text: &str) -> Fault {
    Fault::Status(200, vec![("Content-Type", "application/json".to_owned())], text.to_owned())
}

fn page(text: &str, link: &str) -> Fault {
    Fault::Status(200, vec![("Link", link.to_owned())], text.to_owned())
}

/// Returns the tags of a registry that answers with these pages in order.
fn tags_of(pages: &[Fault]) -> Result<Vec<String>, Error> {
    let fixture = Fixture::new();
    for (number, fault) in pages.iter().enumerate() {
        fixture.registry.misbehave(Rule::on(NAME).skip(number).times(1).fault(fault.clone()));
    }
    let tags = client().tags(&fixture.reference())?.tags;
    assert_eq!(fixture.registry.count(NAME), pages.len());
    Ok(tags)
}

#[test]
fn pages_follow_their_links() {
    let registry = Registry::start();
    registry.configure(Features { page_size: 3, ..Features::default() });
    let mut expected = Vec::new();
    for number in 0..10 {
        expected.push(format!("v{number}"));
        registry.put_manifest(NAME, Some(&expected[number]), MANIFEST_TYPE, MANIFEST);
        registry.put_manifest(&format!("other/name{number}"), None, MANIFEST_TYPE, MANIFEST);
    }
    let fixture = Fixture::of(registry, 10);
    let list = client().tags(&fixture.reference()).unwrap();
    expected.insert(0, "latest".to_owned());
    assert_eq!(list.tags, expected);
    assert!(list.instances.is_empty());
    assert_eq!(fixture.registry.count(TAGS), 4);

    let repositories = client().repositories(&fixture.registry.host()).unwrap();
    assert_eq!(repositories.len(), 11);
    assert_eq!((repositories[0].as_str(), repositories[10].as_str()), ("other/name0", NAME));
    assert_eq!(fixture.registry.count(CATALOG), 4);
}

#[test]
fn links_have_many_forms() {
    let first = r#"{"name":"x","tags":["a"]}"#;
    for link in [
        format!(r#"</v2/{NAME}/tags/list?last=a>; rel="next""#),
        "<?last=a>;rel=next".to_owned(),
        format!(
            r#"</v2/{NAME}/tags/list?first>; rel="first", </v2/{NAME}/tags/list?last=a>; title="a, b"; rel="next""#
        ),
        "<list?last=a>; REL=\"prev Next\"".to_owned(),
    ] {
        let tags = tags_of(&[page(first, &link), body(r#"{"tags":["b"]}"#)]);
        assert_eq!(tags.unwrap(), ["a", "b"], "{link}");
    }
    assert_eq!(tags_of(&[page(first, "</x>; rel=prev")]).unwrap(), ["a"]);
    // An absolute link, and Google's field.
    for is_field in [false, true] {
        let fixture = Fixture::new();
        let next = format!("{}/v2/{NAME}/tags/list?last=a", fixture.registry.url());
        let fault = if is_field {
            body(&format!(r#"{{"tags":["a"],"next":"{next}"}}"#))
        } else {
            page(first, &format!("<{next}>; rel=next"))
        };
        fixture.registry.misbehave(Rule::on(TAGS).times(1).fault(fault));
        assert_eq!(client().tags(&fixture.reference()).unwrap().tags, ["a", "latest"]);
        assert_eq!(fixture.requests(TAGS)[1].query("last"), ["a"]);
    }
}

#[test]
fn lists_may_be_empty_or_null() {
    for text in
        [r#"{"tags":null}"#, r#"{"tags":[]}"#, "{}", r#"{"tags":null,"next":""}"#, r#"{"tags":null,"manifest":null}"#]
    {
        assert_eq!(tags_of(&[body(text)]).unwrap(), [""; 0], "{text}");
    }
    for text in [r#"{"repositories":null}"#, "{}"] {
        let registry = Registry::start();
        registry.misbehave(Rule::on(CATALOG).fault(body(text)));
        assert_eq!(client().repositories(&registry.host()).unwrap(), [""; 0], "{text}");
    }
    // A page in the middle may be empty.
    let next = "<?last=a>; rel=next";
    let pages =
        [page(r#"{"tags":["a"]}"#, next), page(r#"{"tags":null}"#, "<?last=b>; rel=next"), body(r#"{"tags":["c"]}"#)];
    assert_eq!(tags_of(&pages).unwrap(), ["a", "c"]);
}

#[test]
fn names_that_are_no_tags_are_omitted() {
    let digest = Digest::of(b"x");
    let text =
        format!(r#"{{"tags":["a","{digest}","","x y","a\nb","\u001b[31m",null,"a","b","{}"]}}"#, "x".repeat(129));
    assert_eq!(tags_of(&[body(&text)]).unwrap(), ["a", "b"]);
    let registry = Registry::start();
    let text = r#"{"repositories":["a/b","A","a:b","a@b","","../x","a//b","\n","a/b","c"]}"#;
    registry.misbehave(Rule::on(CATALOG).fault(body(text)));
    assert_eq!(client().repositories(&registry.host()).unwrap(), ["a/b", "c"]);
}

#[test]
fn a_list_is_read_only_if_it_is_short() {
    let within = |fixture: &Fixture, pages| client().tags_within(&fixture.reference(), pages);
    let fixture = Fixture::of(Registry::start(), 10);
    fixture.registry.configure(Features { page_size: 3, ..Features::default() });
    for number in 0..4 {
        fixture.registry.put_manifest(NAME, Some(&format!("v{number}")), MANIFEST_TYPE, MANIFEST);
    }
    let all = within(&fixture, 2).unwrap().unwrap();
    assert!(all.len() == 5 && all.contains("latest"), "{all:?}");
    assert_eq!(within(&fixture, 1).unwrap(), None, "there is another page");
    assert_eq!(fixture.registry.count(TAGS), 3);
    // A repository that the registry does not know.
    let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no"}]}"#;
    fixture.registry.misbehave(Rule::on(TAGS).times(1).fault(Fault::Status(404, Vec::new(), unknown.to_owned())));
    assert_eq!(within(&fixture, 1).unwrap(), Some(Default::default()));
    // Too long, endless, and other failures, which are not retried.
    let long = format!(r#"{{"tags":["{}"]}}"#, "x".repeat(1 << 20));
    fixture.registry.misbehave(Rule::on(TAGS).times(1).fault(body(&long)));
    assert_eq!(within(&fixture, 1).unwrap(), None);
    fixture.registry.misbehave(Rule::on(TAGS).times(2).fault(page(r#"{"tags":["a"]}"#, "<?x=y>; rel=next")));
    assert!(within(&fixture, 3).is_err(), "a loop");
    for status in [400, 401, 403, 404, 405, 429, 500, 503] {
        fixture.registry.clear_requests();
        fixture.registry.misbehave(Rule::on(TAGS).times(1).fault(Fault::Status(status, Vec::new(), String::new())));
        assert!(within(&fixture, 1).is_err(), "{status}");
        assert_eq!(fixture.registry.count(TAGS), 1, "{status}");
    }
}

#[test]
fn loops_and_endless_lists_end() {
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(TAGS).fault(page(r#"{"tags":["a"]}"#, "<?x=y>; rel=next")));
    let error = assert_message(client().tags(&fixture.reference()), &[TAGS, "read already"]);
    assert!(matches!(error, Error::Paging { .. }), "{error:?}");
    assert_eq!(fixture.registry.count(TAGS), 2);
    assert_eq!(error.kind(), ErrorKind::Limit);
    // Pages without anything new, under ever new URLs. Each rule answers one request.
    for text in [r#"{"tags":["a"]}"#, r#"{"tags":[]}"#] {
        let fixture = Fixture::new();
        for number in 0..200 {
            let link = format!("<?last={number}>; rel=next");
            fixture.registry.misbehave(Rule::on(TAGS).skip(number).times(1).fault(page(text, &link)));
        }
        let error = assert_message(client().tags(&fixture.reference()), &[TAGS, "STALE_PAGE_LIMIT"]);
        assert!(matches!(error, Error::Paging { .. }), "{error:?}");
        let first_is_new = usize::from(text.contains(r#""a""#));
        assert_eq!(fixture.registry.count(TAGS), 100 + first_is_new);
    }
    // A list that is too long. The registry claims the length, so that it need not send it.
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(TAGS).fault(Fault::ContentLength(100 << 20)));
    let error = client().tags(&fixture.reference()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[test]
fn wrong_documents_are_errors() {
    for text in ["", "[]", "<html>", r#"{"tags":"a"}"#, r#"{"tags":[1]}"#] {
        let error = assert_message(tags_of(&[body(text)]), &[TAGS, "not a list of tags"]);
        assert!(matches!(error, Error::Malformed { .. }), "{text}: {error:?}");
    }
    let gone = vmroot_model::Reference::parse(&format!("{}/gone", Registry::start().host())).unwrap();
    assert!(client().tags(&gone).is_err());
    for (link, text) in [("<ftp://x/>; rel=next", "ftp"), ("<http://>; rel=next", "not a URL")] {
        assert_message(tags_of(&[page(r#"{"tags":["a"]}"#, link)]), &[TAGS, text]);
    }
}

#[test]
fn failures_of_a_page_are_retried() {
    let fixture = Fixture::new();
    for fault in [Fault::Status(503, vec![], String::new()), Fault::Close, Fault::CutAfter(3)] {
        fixture.registry.misbehave(Rule::on(TAGS).times(1).fault(fault));
        assert_eq!(client().tags(&fixture.reference()).unwrap().tags, ["latest"]);
    }
}

#[test]
fn instances_of_googles_registries() {
    let (first, second, third) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
    let text = format!(
        r#"{{"child":[],"name":"x","tags":["latest","v1"],"manifest":{{
            "{first}":{{"imageSizeBytes":"1234","layerId":"abc","mediaType":"{MANIFEST_TYPE}","tag":["latest","v1"],
                "timeCreatedMs":"1500000000123","timeUploadedMs":1600000000000}},
            "{second}":{{"imageSizeBytes":"many","layerId":"","tag":[],"timeCreatedMs":"-62135596800000",
                "timeUploadedMs":"1600000000001"}},
            "{third}":null,
            "nonsense":{{}}}}}}"#
    );
    let fixture = Fixture::new();
    fixture.registry.misbehave(Rule::on(TAGS).fault(body(&text)));
    let list = client().tags(&fixture.reference()).unwrap();
    assert_eq!(list.tags, ["latest", "v1"]);
    assert_eq!(list.instances.keys().collect::<Vec<_>>().len(), 3);
    let ms = |ms| Some(UNIX_EPOCH + Duration::from_millis(ms));
    let expected = ListedInstance {
        size: Some(1234),
        tags: vec!["latest".to_owned(), "v1".to_owned()],
        created: ms(1_500_000_000_123),
        uploaded: ms(1_600_000_000_000),
        media_type: Some(MediaType::new(MANIFEST_TYPE)),
        layer_id: Some("abc".to_owned()),
    };
    assert_eq!(list.instances[&first], expected);
    assert_eq!(
        list.instances[&second],
        ListedInstance { uploaded: ms(1_600_000_000_001), ..ListedInstance::default() }
    );
    assert_eq!(list.instances[&third], ListedInstance::default());
}
