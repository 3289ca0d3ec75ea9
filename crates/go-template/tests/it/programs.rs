//! The output of skopeo and podman for the same templates.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use vmroot_go_template::{Field, Report, Struct, Template, Type};
use vmroot_testkit::skip;

/// Returns a program's output, or its message of the error.
fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn ours(name: &str, format: &str, data: &Value, of: &Type) -> Result<String, String> {
    let report = Report::parse(name, format).map_err(|error| error.to_string())?;
    let output = report.execute(data, of).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Removes the columns: old versions put one more space before the template.
fn without_columns(message: &str) -> String {
    let Some((before, rest)) = message.split_once(": executing ") else { return message.to_owned() };
    let place = before.rsplit_once(':').map_or(before, |(place, _)| place);
    format!("{place}: executing {rest}")
}

/// `podman version` needs no storage and no image. The templates use literals, because the data is podman's own.
#[test]
fn podman_prints_the_same() {
    let mut wrong = Vec::new();
    if skip::needs_program("podman") {
        return;
    }
    for template in [
        "{{1}} {{1.5}} {{1e6}} {{123456789.0}} {{0.00001}} {{true}} {{'a'}} {{0x10}} {{017}} {{1_000}}",
        "{{print 1 2 \"a\" \"b\" 3 4}}|{{println 1 \"a\" true}}",
        "{{printf \"%v|%d|%5d|%-5d|%05d|%+d|%x|%X|%#x|%o|%b|%c|%U|%q\" 42 42 42 42 42 42 42 42 42 42 42 65 65 65}}",
        "{{printf \"%s|%10s|%-10s|%.2s|%q|%x|% x|%v\" \"héy\" \"héy\" \"héy\" \"héy\" \"héy\" \"héy\" \"héy\" \"héy\"}}",
        "{{printf \"%f|%.1f|%8.2f|%e|%g|%G|%.3g|%v|%08.3f|%+.1e\" 1.5 1.25 1.5 1500.0 1e6 1e-7 1234.5 1e20 -3.14159 12345.678}}",
        "{{printf \"%d %s %t %z %q\" \"a\" 5 1 1 1.5}}",
        "{{printf \"%d %d\" 1}} {{printf \"%d\" 1 2}} {{printf \"%\"}} {{printf \"100%%\"}} {{printf \"%!\" 1}}",
        "{{printf \"%[2]d %[1]d\" 1 2}} {{printf \"%*d|%-*d|\" 4 1 4 1}} {{printf \"%[5]d\" 1}} {{printf \"%.*f\" 2 3.14159}}",
        "{{printf \"%q\" \"a\\x01\\u00e9\\xff\\U0001F600\\u200b\"}} {{printf \"%v %v\" nil (split \"a b\" \" \")}}",
        "{{printf \"%q %s %5s %x\" (split \"a b\" \" \") (split \"a b\" \" \") (split \"a b\" \" \") (split \"a b\" \" \")}}",
        "{{printf \"%T %T %T %T %T\" \"a\" 1 1.5 true (split \"a\" \" \")}}",
        "{{html \"<a href='x'>&\\\"\"}} {{js \"<a>='&\\\"\\\\\\u2028é\"}} {{urlquery \"a b&c=d/é~\"}} {{html 1 2 \"<\"}}",
        "{{len \"größe\"}} {{index \"abc\" 1}} {{slice \"abcdef\" 1 3}} {{slice (split \"a b c\" \" \") 1}}",
        "{{and 1 0 2}} {{or 0 \"\" \"x\"}} {{not 0}} {{and true \"a\"}} {{or false}}",
        "{{eq 1 1}} {{eq 1 2 1}} {{ne \"a\" \"b\"}} {{lt 1 2}} {{le 1.5 1.5}} {{gt \"b\" \"a\"}} {{ge 1 2}}",
        "{{range $i, $e := split \"a,b,c\" \",\"}}{{if $i}}, {{end}}{{$e | upper}}{{end}}",
        "{{range split \"\" \"x\"}}<{{.}}>{{else}}none{{end}}",
        "{{with $x := 3}}{{$x}}{{.}}{{end}}{{with 0}}a{{else}}b{{end}}",
        "{{$x := 1}}{{if true}}{{$x = 2}}{{$y := 3}}{{$y}}{{end}}{{$x}}",
        "{{define \"d\"}}[{{.}}]{{end}}{{template \"d\" 5}}{{template \"d\"}}{{block \"b\" 1}}<{{.}}>{{end}}",
        "a  {{- 1 -}}  b {{/* c */}} {{- /* d */ -}} e",
        "{{join (split \"a/b\" \"/\") \"+\"}} {{lower \"ÄB\"}} {{title \"hello big_world-wide it's\"}} {{pad \"x\" 1 2}}| {{truncate \"abc\" 2}}",
        "{{json (split \"<a> b\" \" \")}} {{json \"é\\u2028\\x01\"}} {{json 1.0}} {{json 1e21}} {{json 1e-7}} {{json 123456789.5}} {{json 1e20}} {{json nil}}",
        "{{\"quoted \\\"x\\\"\"}} {{`raw`}} {{(\"p\")}} {{(printf \"%d\" 3) | printf \"%s-%s\" \"a\"}}",
        "{{3 | printf \"%03d\"}} {{\"a\" | len}} {{print nil}} {{print}}|",
        r"a\tb\nc",
        // Errors.
        "{{foo}}",
        "{{$x}}",
        "{{if}}{{end}}",
        "{{end}}",
        "{{range}}",
        "{{.X | 3}}",
        "{{upper 5}}",
        "{{upper (len \"a\")}}",
        "{{len 3}}",
        "{{len}}",
        "{{index}}",
        "{{eq 1}}",
        "{{eq 1 \"a\"}}",
        "{{lt true false}}",
        "{{lt 1 \"a\"}}",
        "{{index (split \"a\" \"b\") 3}}",
        "{{index (split \"a\" \"b\") \"x\"}}",
        "{{index nil 1}}",
        "{{slice \"abc\" 2 1}}",
        "{{slice \"abc\" 1 2 3}}",
        "{{slice 3}}",
        "{{nil}}",
        "{{(3) 4}}",
        "{{3 4}}",
        "{{range 1.5}}{{end}}",
        "{{template \"nope\"}}",
        "{{call 3}}",
        "{{call nil}}",
        "{{join \"a\" \",\"}}",
        "{{join 3 \",\"}}",
        "{{pad \"a\" \"b\" 1}}",
        "{{pad \"a\" 1.5 1}}",
        "{{truncate nil 1}}",
        "{{18446744073709551615}}",
        "{{\"a\".b}}",
        "{{nil.a}}",
        "{{(nil).a}}",
        "{{(split \"a\" \"b\").X}}",
        "{{(len \"a\").X}}",
        "{{/* x}}",
        "{{\"a}}",
        "{{(1}}",
        "{{3x}}",
        "{{a#}}",
        "{{.#}}",
        "{{1 ; 2}}",
        "{{break}}",
        "{{range $a, $b, $c := 1}}{{end}}",
        "{{define 3}}{{end}}",
        "{{template}}",
    ] {
        let judge = output_of(Command::new("podman").args(["version", "--format", template]));
        let judge = judge.map_err(|error| {
            error
                .trim_start_matches("Error: ")
                .trim_end()
                .replace(" version:", " NAME:")
                .replace("\"version\"", "\"NAME\"")
        });
        // This command has no range around the template.
        let text = template.replace("\\t", "\t").replace("\\n", "\n") + "\n";
        let result = Template::parse("NAME", &text).and_then(|template| template.execute(&json!({}), &Type::Any));
        let result = result.map(|output| String::from_utf8_lossy(&output).into_owned());
        let result = result.map_err(|error| error.to_string());
        if result != judge {
            wrong.push((template, result, judge));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn output_type() -> Type {
    Type::Struct(Struct {
        name: "inspect.Output",
        fields: vec![
            Field::new("Name", Type::String),
            Field::new("Tag", Type::String),
            Field::new("Digest", Type::Digest),
            Field::new("RepoTags", Type::String.slice()),
            Field::new("Created", Type::Time.pointer()),
            Field::new("DockerVersion", Type::String),
            Field::new("Labels", Type::String.map()),
            Field::new("Architecture", Type::String),
            Field::new("Os", Type::String),
            Field::new("Layers", Type::String.slice()),
            Field::new("Env", Type::String.slice()),
        ],
    })
}

/// The data is the output of `skopeo inspect` for an image.
#[test]
fn skopeo_prints_the_same() {
    let mut wrong = Vec::new();
    if skip::needs_program("skopeo") {
        return;
    }
    let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/demo").canonicalize().unwrap();
    let image = format!("oci:{}:demo", demo.display());
    let skopeo = |format: Option<&str>| {
        let mut command = Command::new("skopeo");
        command.arg("inspect").arg(&image);
        format.iter().for_each(|format| {
            command.args(["--format", format]);
        });
        output_of(&mut command)
    };
    let document: Value = serde_json::from_str(&skopeo(None).unwrap()).unwrap();
    let data = Value::Array(vec![document]);
    for template in [
        "{{.}}",
        "{{.Digest}} {{.Digest.Algorithm}} {{.Digest.Hex}} {{.Digest.Encoded}}",
        "{{.Created}} {{.Created.Unix}} {{.Created.Format \"2006-01-02T15:04:05Z07:00\"}} {{.Created.Year}} {{.Created.Month}}",
        "{{.Created.Weekday}} {{.Created.YearDay}} {{.Created.IsZero}} {{.Created.UTC}} {{.Created.String}}",
        "{{.Labels}} {{.Labels.missing}} {{index .Labels \"spaced label\"}} {{len .Labels}}",
        "{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}",
        "{{range .Layers}}{{.}}\\n{{end}}",
        "{{range $i, $l := .Layers}}{{$i}} {{slice $l 7 19}} {{end}}",
        "{{.Name}}{{.Tag}}{{.RepoTags}}{{.DockerVersion}}|{{.Env}} {{.Architecture}}/{{.Os}}",
        "{{if eq .Architecture \"amd64\"}}yes{{else}}no{{end}} {{with .Env}}{{index . 0}}{{end}}",
        "{{printf \"%s %q %v %d\" .Os .Env .Layers (len .Layers)}}",
        "{{println .Env .Os}}",
        "{{.Nope}}",
        "{{.Os.X}}",
        "{{.Labels.missing.deeper}}",
        "{{.Digest.X}}",
        "{{.Created.X}}",
        "{{.Name 1}}",
        "{{.Labels.x 1}}",
        "{{.Digest.Hex 1}}",
        "{{.Created.Format}}",
        "{{.Created.Format 3}}",
        "{{len .Labels.missing}}",
        "{{index .Layers 100}}",
        "{{index .Layers 4}}",
        "{{index .Labels 1}}",
        "{{range .Os}}{{end}}",
        "{{eq .Labels .Labels}}",
        "{{eq .Os .Env}}",
        "{{lt .Os .Env}}",
        "{{range .Layers}}{{.X}}{{end}}",
        "{{with .Labels}}{{.Y.Z}}{{.Os.Q}}{{end}}{{$.Os}}",
    ] {
        let judge = skopeo(Some(template)).map_err(|error| {
            let message = error.split_once("msg=\"").map_or(&*error, |(_, message)| message).trim_end();
            message.trim_end_matches('"').replace("\\\"", "\"").replace("\\\\", "\\")
        });
        let result = ours("skopeo inspect", template, &data, &output_type());
        let plain = |result: Result<String, String>| result.map_err(|error| without_columns(&error));
        if plain(result.clone()) != plain(judge.clone()) {
            wrong.push((template, result, judge));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
