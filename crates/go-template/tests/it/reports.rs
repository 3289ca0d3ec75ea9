//! The conventions of `--format`.

use serde_json::json;
use vmroot_go_template::{Report, Type, is_json};

#[test]
fn requests_for_json() {
    for format in ["json", " json ", "{{json}}", "{{ json. }}", "{{json }}\n"] {
        assert!(is_json(format), "{format}");
    }
    for format in ["{{json .}}", "{{.}}", "jsonx", "", "{{json .}} json"] {
        assert!(!is_json(format), "{format}");
    }
}

#[test]
fn formats() {
    let data = json!([{"Name": "a", "Tags": ["1", "2"]}, {"Name": "longer than twelve", "Tags": []}]);
    for (format, expected) in [
        ("{{.Name}}", "a\nlonger than twelve\n"),
        ("{{.Name}}\n", "a\nlonger than twelve\n"),
        (r"{{.Name}}\t{{len .Tags}}\n", "a\t2\nlonger than twelve\t0\n"),
        ("{{range .}}{{.Name}};{{end}}", "a;longer than twelve;\n"),
        ("{{range .}}{{.Name}};{{end -}}", "a;longer than twelve;"),
        ("{{range .Tags}}{{.}} {{end}}", "1 2 \n\n"),
        ("{{join (split .Name \" \") \"\\n\"}}", "alonger\nthan\ntwelve"),
        ("table {{.Name}} {{len .Tags}}", "a                   2\nlonger than twelve  0\n"),
        (r"table {{.Name}}\t{{len .Tags}} x", "a                   2           x\nlonger than twelve  0           x\n"),
    ] {
        let output = Report::parse("list", format).and_then(|report| report.execute(&data, &Type::Any)).unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), expected, "{format}");
    }
    let error = Report::parse("list", "{{.Name.X}}").unwrap().execute(&data, &Type::Any).unwrap_err();
    assert_eq!(
        error.to_string(),
        "template: list:1:18: executing \"list\" at <.Name.X>: can't evaluate field X in type interface {}"
    );
}
