//! Any text as a template of Go, over JSON values of each kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use vmroot_go_template::{Field, Report, Struct, Template, Type};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let value = json!({
        "Name": "docker.io/library/alpine", "Digest": digest, "Created": "2024-02-29T23:59:59.5+02:00",
        "Labels": {"a": "b", "": "x"}, "Layers": [digest, digest], "Size": -1, "Other": [null, true, 1.5, {"a": [1]}],
    });
    let fields = vec![
        Field::new("Name", Type::String),
        Field::new("Digest", Type::Digest),
        Field::new("Created", Type::Time.pointer()),
        Field::new("Labels", Type::String.map()),
        Field::new("Layers", Type::String.slice()),
        Field::new("Size", Type::Int),
        Field::new("Other", Type::Any),
    ];
    let of = Type::Struct(Struct { name: "fuzz.Value", fields });
    if let Ok(template) = Template::parse("fuzz", text) {
        let _ = template.execute(&value, &of);
        let _ = template.execute(&value, &Type::Any);
    }
    if let Ok(report) = Report::parse("fuzz", text) {
        let _ = report.execute(&json!([value]), &of.slice());
    }
});
