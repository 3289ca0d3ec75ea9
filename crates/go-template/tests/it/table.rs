//! Templates and their output.

use serde_json::{Value, json};
use vmroot_go_template::{Field, JsonStyle, Struct, Template, Type, to_json};

fn data() -> Value {
    json!({
        "Name": "alpine", "Empty": "", "Zero": 0, "Count": 42, "Ratio": 1.5, "Big": 12_345_678.5, "Yes": true,
        "No": false, "Null": null, "Tags": ["3.19", "3.20", "edge"], "None": [], "Ports": {"80/tcp": {}, "443/tcp": null},
        "Labels": {"b": "2", "a": "1", "with.dot": "3"}, "Html": "<a href=\"x\">Tom & 'Jo'</a>",
        "Nested": {"Inner": {"Value": [1, {"k": "v"}]}}, "Word": "größe",
    })
}

fn run(template: &str) -> String {
    match Template::parse("t", template).and_then(|template| template.execute(&data(), &Type::Any)) {
        Ok(output) => String::from_utf8(output).unwrap(),
        Err(error) => error.to_string(),
    }
}

fn check(cases: &[(&str, &str)]) {
    let results = cases.iter().map(|(template, expected)| (template, run(template), expected));
    let wrong: Vec<_> = results.filter(|(_, output, expected)| output != *expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn values_print_as_in_go() {
    check(&[
        ("{{.Name}}", "alpine"),
        ("{{.Count}} {{.Ratio}} {{.Big}} {{.Yes}}", "42 1.5 1.23456785e+07 true"),
        ("{{.Tags}} {{.None}}", "[3.19 3.20 edge] []"),
        ("{{.Labels}}", "map[a:1 b:2 with.dot:3]"),
        ("{{.Ports}}", "map[443/tcp:<nil> 80/tcp:map[]]"),
        ("{{.Nested}}", "map[Inner:map[Value:[1 map[k:v]]]]"),
        ("{{.Null}} {{.Missing}} {{.Missing.Deeper}} {{.Labels.c}}", "<no value> <no value> <no value> <no value>"),
        ("{{print nil}} {{print .Missing}} {{print .Null}}", "<nil> <nil> <nil>"),
        ("{{1000000.0}} {{100000.0}} {{0.0001}} {{0.00001}} {{1e21}}", "1e+06 100000 0.0001 1e-05 1e+21"),
        (
            "{{true}} {{0x10}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{'a'}} {{'\\n'}} {{0x1p4}}",
            "true 16 3 15 15 1000 97 10 16",
        ),
        ("{{\"a\\tb\\u00e9\\x41\"}} {{`raw\\n`}}", "a\tbéA raw\\n"),
    ]);
}

#[test]
fn control_structures() {
    check(&[
        ("{{if .Yes}}a{{else}}b{{end}}{{if .No}}a{{else}}b{{end}}", "ab"),
        ("{{if .No}}a{{else if .Zero}}b{{else if .Name}}c{{else}}d{{end}}", "c"),
        ("{{with .Name}}<{{.}}>{{end}}{{with .Empty}}x{{else}}none{{end}}", "<alpine>none"),
        ("{{with .Empty}}x{{else with .Count}}{{.}}{{end}}", "42"),
        ("{{range .Tags}}{{.}},{{end}}", "3.19,3.20,edge,"),
        ("{{range $i, $t := .Tags}}{{$i}}={{$t}} {{end}}", "0=3.19 1=3.20 2=edge "),
        ("{{range $t := .Tags}}{{$t}}{{$.Name}} {{end}}", "3.19alpine 3.20alpine edgealpine "),
        ("{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}", "a:1 b:2 with.dot:3 "),
        ("{{range .None}}x{{else}}empty {{.Name}}{{end}}{{range .Missing}}x{{else}}!{{end}}", "empty alpine!"),
        ("{{range .Tags}}{{if eq . \"3.20\"}}{{continue}}{{end}}{{.}} {{end}}", "3.19 edge "),
        ("{{range .Tags}}{{if eq . \"3.20\"}}{{break}}{{end}}{{.}} {{end}}", "3.19 "),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}", "01201"),
        ("{{$x := 1}}{{range .Tags}}{{$x = .}}{{end}}{{$x}}", "edge"),
        ("{{$i := 0}}{{$v := 0}}{{range $i, $v = .Tags}}{{end}}{{$i}}{{$v}}", "2edge"),
        ("{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x := 1}}{{$x}}", "21"),
        ("{{define \"d\"}}[{{.}}]{{end}}{{template \"d\" .Name}}{{template \"d\"}}", "[alpine][<no value>]"),
        ("{{block \"b\" .Tags}}{{len .}}{{end}} {{template \"b\" .Name}}", "3 6"),
        ("a  {{- /* comment */ -}}  b{{/* another\n*/}}c", "abc"),
        ("a  {{- .Count -}}  b {{3 -}} c {{- -3}}", "a42b 3c-3"),
        ("{{\n.Name\n}}", "alpine"),
    ]);
}

#[test]
fn functions_of_go() {
    check(&[
        (
            "{{and .Yes .Name}} {{and .No .Missing.x}} {{or .Zero .Name}} {{or .Empty .Zero}} {{not .Yes}}",
            "alpine false alpine 0 false",
        ),
        (
            "{{and true (index .None 5)}}",
            "template: t:1:12: executing \"t\" at <index .None 5>: error calling index: index out of range: 5",
        ),
        ("{{or true (index .None 5)}}", "true"),
        ("{{eq .Name \"alpine\"}} {{eq .Count 1 42}} {{ne .Count 1}} {{eq .Missing nil}}", "true true true true"),
        ("{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1.5 2.5}}", "true true true false"),
        ("{{len .Name}} {{len .Tags}} {{len .Labels}} {{len \"größe\"}}", "6 3 3 7"),
        ("{{index .Tags 1}} {{index .Labels \"with.dot\"}} {{index .Nested \"Inner\" \"Value\" 1 \"k\"}}", "3.20 3 v"),
        ("{{index .Labels \"c\"}} {{(index .Nested \"Inner\").Value}} {{index .Name 0}}", "<no value> [1 map[k:v]] 97"),
        ("{{slice .Name 1 3}} {{slice .Tags 1}} {{slice .Tags 0 1}} {{slice .Name}}", "lp [3.20 edge] [3.19] alpine"),
        ("{{print 1 2 \"a\" \"b\" 3}} {{println 1 \"a\"}}", "1 2ab3 1 a\n"),
        ("{{html .Html}}", "&lt;a href=&#34;x&#34;&gt;Tom &amp; &#39;Jo&#39;&lt;/a&gt;"),
        ("{{js .Html}}", "\\u003Ca href\\u003D\\\"x\\\"\\u003ETom \\u0026 \\'Jo\\'\\u003C/a\\u003E"),
        ("{{urlquery .Html \" \"}}", "%3Ca+href%3D%22x%22%3ETom+%26+%27Jo%27%3C%2Fa%3E+"),
        ("{{.Name | printf \"%s-%s\" \"x\" | len}}", "8"),
        ("{{(.Name)}} {{(printf \"%d\" 3) | print}}", "alpine 3"),
    ]);
}

#[test]
fn printf_verbs() {
    check(&[
        (
            "{{printf \"%d|%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%b|%c|%U|%q\" 42 42 42 42 42 42 42 42 42 42 42 65 65 65}}",
            "42|   42|42   |00042|+42| 42|2a|2A|0x2a|52|101010|A|U+0041|'A'",
        ),
        (
            "{{printf \"%s|%10s|%-10s|%.2s|%q|%x|%X|% x\" .Name .Name .Name .Name .Name \"hi\" \"hi\" \"hi\"}}",
            "alpine|    alpine|alpine    |al|\"alpine\"|6869|6869|68 69",
        ),
        (
            "{{printf \"%f|%.1f|%8.2f|%e|%g|%G|%.3g|%v\" 1.5 1.25 1.5 1500.0 1e6 1e-7 1234.5 1e6}}",
            "1.500000|1.2|    1.50|1.500000e+03|1e+06|1E-07|1.23e+03|1e+06",
        ),
        ("{{printf \"%v %v %v %v\" .Tags .Labels true nil}}", "[3.19 3.20 edge] map[a:1 b:2 with.dot:3] true <nil>"),
        (
            "{{printf \"%q %s %5s\" .Tags .Tags .Tags}}",
            "[\"3.19\" \"3.20\" \"edge\"] [3.19 3.20 edge] [ 3.19  3.20  edge]",
        ),
        ("{{printf \"%T %T %T %T\" .Name .Count .Tags .Labels}}", "string int []interface {} map[string]interface {}"),
        ("{{printf \"%d\" .Name}} {{printf \"%s\" 5}} {{printf \"%t\" 1}}", "%!d(string=alpine) %!s(int=5) %!t(int=1)"),
        (
            "{{printf \"%d %d\" 1}} {{printf \"%d\" 1 2}} {{printf \"%\"}} {{printf \"%z\" 1}} {{printf \"100%%\"}}",
            "1 %!d(MISSING) 1%!(EXTRA int=2) %!(NOVERB) %!z(int=1) 100%",
        ),
        (
            "{{printf \"%[2]d %[1]d\" 1 2}} {{printf \"%*d|%-*d|\" 4 1 4 1}} {{printf \"%[5]d\" 1}}",
            "2 1    1|1   | %!d(BADINDEX)",
        ),
        ("{{printf \"%q\" \"a\\n\\x01\\u00e9\\xff\"}}", "\"a\\n\\x01é\\xff\""),
        ("{{printf \"%6.2f%%|%06d|%+.1e\" 12.345 -42 12345.678}}", " 12.35%|-00042|+1.2e+04"),
    ]);
}

#[test]
fn functions_of_docker_and_podman() {
    check(&[
        (
            "{{json .Tags}} {{json .Html}} {{json .Missing}} {{json .Ports}}",
            "[\"3.19\",\"3.20\",\"edge\"] \"<a href=\\\"x\\\">Tom & 'Jo'</a>\" null {\"443/tcp\":null,\"80/tcp\":{}}",
        ),
        (
            "{{join (split \"a/b/c\" \"/\") \", \"}} {{split \"a,b\" \",\"}} {{split \"ab\" \"\" | len}}",
            "a, b, c [a b] 2",
        ),
        ("{{lower \"ÄB\"}} {{upper .Word}} {{title \"hello big_world-wide öl\"}}", "äb GRÖSSE Hello Big_world-Wide Öl"),
        ("{{pad .Name 2 1}}| {{pad \"\" 2 2}}| {{truncate .Name 3}} {{truncate .Name 30}}", "  alpine | | alp alpine"),
        ("{{range split \"a b\" \" \"}}<{{.}}>{{end}}", "<a><b>"),
    ]);
}

fn image() -> Type {
    let layer = Struct {
        name: "types.ImageInspectLayer",
        fields: vec![
            Field::new("MIMEType", Type::String),
            Field::new("Digest", Type::Digest),
            Field::new("Size", Type::Int),
            Field::new("Annotations", Type::String.map()),
        ],
    };
    let platform =
        Struct { name: "v1.Platform", fields: vec![Field::with_key("Architecture", "architecture", Type::String)] };
    Type::Struct(Struct {
        name: "inspect.Output",
        fields: vec![
            Field::new("Name", Type::String),
            Field::new("Digest", Type::Digest),
            Field::new("Created", Type::Time.pointer()),
            Field::new("Parent", Type::Time.pointer()),
            Field::new("Labels", Type::String.map()),
            Field::new("Layers", Type::Struct(layer).slice()),
            Field::embedded("Platform", platform),
        ],
    })
}

#[test]
fn structs_have_only_their_fields() {
    let data = json!({
        "Name": "a&b", "Digest": "sha256:00ff", "Created": "2024-03-05T16:07:08.090Z", "Parent": null, "Labels": null,
        "Layers": [{"MIMEType": "t", "Digest": "sha256:11", "Size": 7, "Annotations": null}], "architecture": "arm64",
    });
    for (template, expected) in [
        ("{{.Name}} {{.Labels}} {{.Labels.x}} {{.Layers}}", "a&b map[] <no value> [{t sha256:11 7 map[]}]"),
        ("{{.}}", "{a&b sha256:00ff 2024-03-05 16:07:08.09 +0000 UTC <nil> map[] [{t sha256:11 7 map[]}] {arm64}}"),
        (
            "{{.Created}} {{.Created.Unix}} {{.Created.Format \"2006-01-02\"}} {{.Created.Year}} {{.Created.Month}}",
            "2024-03-05 16:07:08.09 +0000 UTC 1709654828 2024-03-05 2024 March",
        ),
        ("{{.Digest}} {{.Digest.Algorithm}} {{.Digest.Encoded}} {{.Digest.Hex | len}}", "sha256:00ff sha256 00ff 4"),
        ("{{.Parent}} {{if .Parent}}x{{else}}none{{end}}", "<nil> none"),
        ("{{.Architecture}} {{.Platform.Architecture}}", "arm64 arm64"),
        ("{{.Nope}}", "template: t:1:2: executing \"t\" at <.Nope>: can't evaluate field Nope in type inspect.Output"),
        ("{{.Name.X}}", "template: t:1:7: executing \"t\" at <.Name.X>: can't evaluate field X in type string"),
        (
            "{{.Parent.Year}}",
            "template: t:1:9: executing \"t\" at <.Parent.Year>: nil pointer evaluating *time.Time.Year",
        ),
        (
            "{{.Name 1}}",
            "template: t:1:2: executing \"t\" at <.Name>: Name has arguments but cannot be invoked as function",
        ),
        ("{{json .Layers}}", "[{\"MIMEType\":\"t\",\"Digest\":\"sha256:11\",\"Size\":7,\"Annotations\":null}]"),
    ] {
        let output = Template::parse("t", template).and_then(|template| template.execute(&data, &image()));
        let text = output.map_or_else(|error| error.to_string(), |output| String::from_utf8(output).unwrap());
        assert_eq!(text, expected, "{template}");
    }
    let style = JsonStyle { indent: Some(4), escape_html: true };
    let expected = "{\n    \"Name\": \"a\\u0026b\",\n    \"Labels\": {}\n}";
    let of = Type::Struct(Struct {
        name: "x",
        fields: vec![
            Field::new("Name", Type::String),
            Field::new("Tag", Type::String).omit_empty(),
            Field::new("Labels", Type::String.map()),
            Field::new("Env", Type::String.slice()).omit_empty(),
            Field::new("Config", image()).omit_zero(),
        ],
    });
    assert_eq!(to_json(&json!({"Labels": {}, "Name": "a&b", "Unknown": 1, "Env": []}), &of, style), expected);
    let zero = to_json(&json!({}), &image(), JsonStyle { indent: None, escape_html: true });
    assert_eq!(
        zero,
        "{\"Name\":\"\",\"Digest\":\"\",\"Created\":null,\"Parent\":null,\"Labels\":null,\"Layers\":null,\
         \"architecture\":\"\"}"
    );
}
