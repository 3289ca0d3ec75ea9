//! Hostile templates: each limit is reported, and nothing panics.

use serde_json::json;
use vmroot_go_template::{DEPTH_LIMIT, Error, TEMPLATE_LIMIT, Template, Type};

fn limit_of(template: &str) -> Option<&'static str> {
    let data = json!({"L": ["a"]});
    match Template::parse("t", template).and_then(|template| template.execute(&data, &Type::Any)) {
        Err(Error::Limit { limit, .. }) => Some(limit),
        Err(Error::Execute { message, .. }) if message.contains("TEXT_LIMIT") => Some("TEXT_LIMIT"),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

#[test]
fn limits_are_reported() {
    let nested = |depth: usize| format!("{}.L{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(limit_of(&format!("{{{{{}}}}}", nested(DEPTH_LIMIT - 10))), None);
    assert_eq!(limit_of(&format!("{{{{{}}}}}", nested(DEPTH_LIMIT + 1))), Some("DEPTH_LIMIT"));
    assert_eq!(limit_of(&format!("{{{{{}}}}}", nested(100_000))), Some("DEPTH_LIMIT"));
    let ifs = |depth: usize| "{{if 1}}".repeat(depth) + &"{{end}}".repeat(depth);
    assert_eq!(limit_of(&ifs(DEPTH_LIMIT - 10)), None);
    assert_eq!(limit_of(&ifs(DEPTH_LIMIT + 1)), Some("DEPTH_LIMIT"));
    let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(DEPTH_LIMIT));
    assert_eq!(limit_of(&chain), Some("DEPTH_LIMIT"));
    assert_eq!(limit_of("{{define \"d\"}}{{template \"d\" .}}{{end}}{{template \"d\" .}}"), Some("DEPTH_LIMIT"));
    assert_eq!(limit_of("{{range 9223372036854775807}}{{end}}"), Some("STEPS_LIMIT"));
    assert_eq!(limit_of("{{$x := \"aaaaaaaa\"}}{{range 100}}{{$x = print $x $x}}{{end}}"), Some("TEXT_LIMIT"));
    assert_eq!(limit_of("{{pad \"a\" 9223372036854775807 9223372036854775807}}"), Some("TEXT_LIMIT"));
    assert_eq!(limit_of("{{$x := printf \"%1000000s\" \"1\"}}{{range 1000}}{{$x}}{{end}}"), Some("OUTPUT_LIMIT"));
    assert_eq!(limit_of(&" ".repeat(TEMPLATE_LIMIT + 1)), Some("TEMPLATE_LIMIT"));
    assert_eq!(limit_of("{{printf \"%99999999999d %.99999999999f\" 1 1.5}}"), None);
}

/// Cuts and changes templates at every byte.
#[test]
fn damaged_templates_do_not_panic() {
    let data = json!({"A": "ä", "L": ["a", null], "M": {"k": 1}});
    let template = "a{{- /* c */ -}} {{range $i, $e := .L}}{{if eq $i 0}}{{$e | printf \"%5.2q[1]\" | upper}}{{else}}\
                    {{break}}{{end}}{{end}}{{define \"d\"}}{{.}}{{end}}{{template \"d\" (index .M \"k\")}}{{block \"b\" .}}\
                    {{with $.A}}{{slice . 0 1}}{{truncate . 1}}{{end}}{{end}}{{0x1.8p3}} {{'\\u00e4'}} {{`r`}}";
    let try_it = |text: &str| {
        let _ = Template::parse("t", text).and_then(|template| template.execute(&data, &Type::Any));
    };
    for at in 0..template.len() {
        try_it(&template[..at]);
        try_it(&template[at..]);
        for replacement in ["{", "}", "(", ")", "\"", "`", "'", "\\", "$", ".", "-", " ", "|", "0", "_", "ä", "%", "*"]
        {
            try_it(&format!("{}{replacement}{}", &template[..at], &template[at + 1..]));
        }
    }
}
