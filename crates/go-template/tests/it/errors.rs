//! Messages of malformed templates, and of templates that do not fit the data.

use serde_json::json;
use vmroot_go_template::{Template, Type};

#[test]
fn malformed_templates() {
    let mut wrong = Vec::new();
    for (template, message) in [
        ("{{", "1: unclosed action"),
        ("{{.A", "1: unclosed action"),
        ("a\n{{.A\n", "3: unclosed action started at t:2"),
        ("{{if}}x{{end}}", "1: missing value for if"),
        ("{{if .A}}x", "1: unexpected EOF"),
        ("{{end}}", "1: unexpected {{end}}"),
        ("{{else}}", "1: unexpected {{else}}"),
        ("{{if .A}}{{else}}{{else}}{{end}}", "1: expected end; found {{else}}"),
        ("{{foo}}", "1: function \"foo\" not defined"),
        ("\n{{$x}}", "2: undefined variable \"$x\""),
        ("{{range .A}}{{$x := .}}{{end}}{{$x}}", "1: undefined variable \"$x\""),
        ("{{}}", "1: missing value for command"),
        ("{{.A | 3}}", "1: non executable command in pipeline stage 2"),
        ("{{\"abc}}", "1: unterminated quoted string"),
        ("{{`abc}}", "1: unterminated raw quoted string"),
        ("{{'a}}", "1: unterminated character constant"),
        ("{{/* x }}", "1: unclosed comment"),
        ("{{/* x */ y}}", "1: comment ends before closing delimiter"),
        ("{{(.A}}", "1: unclosed left paren"),
        ("{{.A)}}", "1: unexpected right paren"),
        ("{{3x}}", "1: bad number syntax: \"3x\""),
        ("{{.A#}}", "1: bad character U+0023 '#'"),
        ("{{\u{7}}}", "1: unrecognized character in action: U+0007 '\u{7}'"),
        ("{{break}}", "1: {{break}} outside {{range}}"),
        ("{{if .A}}{{define \"x\"}}{{end}}{{end}}", "1: unexpected <define> in command"),
        ("{{template}}", "1: unexpected \"}}\" in template clause"),
        ("{{template .A}}", "1: unexpected \".A\" in template clause"),
        ("{{define", "1: unclosed action"),
        ("{{template", "1: unclosed action"),
        ("{{block \"x\"}}{{end}}", "1: missing value for block clause"),
        ("{{range $a, $b, $c := .A}}{{end}}", "1: too many declarations in range"),
        ("{{$a, $b := .A}}", "1: too many declarations in command"),
        ("{{3.A}}", "1: bad number syntax: \"3.A\""),
        ("{{nil.A}}", "1: unexpected . after term \"nil\""),
        ("{{.A :x}}", "1: expected :="),
    ] {
        let error = Template::parse("t", template).expect_err(template).to_string();
        if error != format!("template: t:{message}") {
            wrong.push((template, error, message));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn templates_that_do_not_fit() {
    let mut wrong = Vec::new();
    let data = json!({"A": "text", "N": 5, "L": [1, 2], "M": {"x": null}});
    for (template, message) in [
        ("{{.A.B}}", "1:4: executing \"t\" at <.A.B>: can't evaluate field B in type interface {}"),
        ("x\n  {{.M.x.y}}", "2:6: executing \"t\" at <.M.x.y>: nil pointer evaluating interface {}.y"),
        ("{{range .N}}{{end}}{{range .A}}{{end}}", "1:27: executing \"t\" at <.A>: range can't iterate over text"),
        (
            "{{index .L 2}}",
            "1:2: executing \"t\" at <index .L 2>: error calling index: reflect: slice index out of range",
        ),
        ("{{index .L -1}}", "1:2: executing \"t\" at <index .L -1>: error calling index: index out of range: -1"),
        (
            "{{index .L \"x\"}}",
            "1:2: executing \"t\" at <index .L \"x\">: error calling index: cannot index slice/array with type string",
        ),
        ("{{index nil 1}}", "1:2: executing \"t\" at <index nil 1>: error calling index: index of untyped nil"),
        ("{{len .N}}", "1:2: executing \"t\" at <len .N>: error calling len: len of type int"),
        ("{{len}}", "1:2: executing \"t\" at <len>: wrong number of args for len: want 1 got 0"),
        ("{{index}}", "1:2: executing \"t\" at <index>: wrong number of args for index: want at least 1 got 0"),
        ("{{eq 1}}", "1:2: executing \"t\" at <eq 1>: error calling eq: missing argument for comparison"),
        ("{{eq 1 \"a\"}}", "1:2: executing \"t\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison"),
        ("{{lt .L 1}}", "1:2: executing \"t\" at <lt .L 1>: error calling lt: invalid type for comparison"),
        ("{{upper .N}}", "1:8: executing \"t\" at <.N>: wrong type for value; expected string; got int"),
        ("{{upper 5}}", "1:8: executing \"t\" at <5>: expected string; found 5"),
        ("{{upper .X}}", "1:8: executing \"t\" at <.X>: invalid value; expected string"),
        (
            "{{join .L \",\"}}",
            "1:7: executing \"t\" at <.L>: wrong type for value; expected []string; got []interface {}",
        ),
        ("{{slice .A 3 2}}", "1:2: executing \"t\" at <slice .A 3 2>: error calling slice: invalid slice index: 3 > 2"),
        ("{{3 | .A}}", "1:6: executing \"t\" at <.A>: A is not a method but has arguments"),
        ("{{nil}}", "1:2: executing \"t\" at <nil>: nil is not a command"),
        ("{{.A | (3)}}", "1:2: executing \"t\" at <.A>: can't give argument to non-function 3"),
        ("{{template \"x\"}}", "1:11: executing \"t\" at <{{template \"x\"}}>: template \"x\" not defined"),
        (
            "{{define \"d\"}}{{.A.B}}{{end}}{{template \"d\" .}}",
            "1:18: executing \"d\" at <.A.B>: can't evaluate field B in type interface {}",
        ),
        ("{{call .A}}", "1:2: executing \"t\" at <call .A>: error calling call: non-function of type string"),
        (
            "{{18446744073709551615}}",
            "1:2: executing \"t\" at <18446744073709551615>: 18446744073709551615 overflows int",
        ),
    ] {
        let output = Template::parse("t", template).and_then(|template| template.execute(&data, &Type::Any));
        let error = output.expect_err(template).to_string();
        if error != format!("template: t:{message}") {
            wrong.push((template, error, message));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
