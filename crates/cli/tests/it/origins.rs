//! `why`.

use serde_json::{Value, json};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::layer::{Entry, Layer};

use crate::program::Program;

fn layers() -> [Layer; 3] {
    [
        Layer::new([
            Entry::directory("usr/lib").mode(0o700),
            Entry::file("usr/lib/library", "0").mode(0o755),
            Entry::symlink("lib", "usr/lib"),
            Entry::file("doomed/deep/file", "0"),
        ]),
        Layer::new([
            Entry::directory("usr/lib").mode(0o755),
            Entry::file("usr/lib/library", "new").owner(7, 8),
            Entry::whiteout("doomed"),
        ]),
        Layer::new([Entry::hard_link("usr/lib/other", "usr/lib/library"), Entry::whiteout("nothing")]),
    ]
}

/// Returns a program, the name of an image, and the digests of its layers.
fn program() -> (Program, String, Vec<String>) {
    let program = Program::new();
    let history = ["base", "COPY library\n/usr/lib", "RUN ln"].map(|command| json!({"created_by": command}));
    let with_empty = [history[0].clone(), json!({"created_by": "ENV", "empty_layer": true})];
    let history: Vec<Value> = with_empty.into_iter().chain(history[1..].to_vec()).collect();
    let image = ImageBuilder::new().layers(&layers()).config_member("history", history).build();
    let layout = program.path("layout");
    std::fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&image), Some("image"))]).unwrap();
    let digests = image.layers.iter().map(|layer| layer.digest.to_string()).collect();
    (program, format!("oci:{}:image", layout.display()), digests)
}

#[test]
fn a_file_comes_from_the_highest_layer_that_has_it() {
    let (program, image, digests) = program();
    let why = program.json(["why", "--json", "--arch=amd64", &image, "/lib/library"]);
    assert_eq!((&why["path"], &why["present"]), (&"/usr/lib/library".into(), &true.into()));
    assert_eq!(why["links"], json!([{"path": "/lib", "target": "usr/lib"}]));
    let layer = &why["layers"][0];
    assert_eq!((&layer["layer"], &layer["digest"]), (&1.into(), &digests[1].clone().into()));
    assert_eq!((&layer["uid"], &layer["size"], &layer["type"]), (&7.into(), &3.into(), &"file".into()));
    assert_eq!(layer["history"]["created_by"], "COPY library\n/usr/lib");
    assert_eq!(why["layers"].as_array().unwrap().len(), 1);
    let hidden = &why["hidden"][0];
    assert_eq!((&hidden["layer"], &hidden["hiddenBy"]["layer"]), (&0.into(), &1.into()));
    assert_eq!((&hidden["mode"], &hidden["hiddenBy"]["cause"]), (&"0755".into(), &"replaced".into()));
    let text = program.ok(["why", "--arch=amd64", &image, "/lib/library"]);
    let expected = format!(
        "path      /usr/lib/library\nlink      /lib -> usr/lib\n\nlayer     layer 2 of 3\ntype      file\nsize      3\n\
         mode      0644\nowner     7:8\ndigest    {}\n",
        digests[1]
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("command   COPY library /usr/lib\n"), "{text}");
    assert!(text.contains("hidden    layer 1 of 3\nreason    replaced in layer 2: /usr/lib/library\n"), "{text}");
}

#[test]
fn directories_come_from_several_layers() {
    let (program, image, _) = program();
    let why = program.json(["why", "--json", "--arch=amd64", &image, "usr/lib/"]);
    let numbers: Vec<_> = why["layers"].as_array().unwrap().iter().map(|layer| layer["layer"].clone()).collect();
    assert_eq!((numbers, &why["attributesLayer"]), (vec![0.into(), 1.into(), 2.into()], &1.into()));
    assert_eq!((&why["layers"][2]["implicit"], &why["layers"][1]["attributes"]), (&true.into(), &true.into()));
    assert_eq!(program.json(["why", "--json", "--arch=amd64", &image, "lib/"])["path"], "/usr/lib");
    assert_eq!(program.json(["why", "--json", "--arch=amd64", &image, "lib"])["path"], "/lib");
    let text = program.ok(["why", "--arch=amd64", &image, "usr/lib"]);
    assert!(text.contains("layer 2 of 3\ntype      directory, with the attributes\n"), "{text}");
    let root = program.json(["why", "--json", "--arch=amd64", &image, "/"]);
    assert_eq!((&root["path"], root["layers"].as_array().unwrap().len()), (&"/".into(), 3));
}

#[test]
fn hard_links_name_their_target() {
    let (program, image, _) = program();
    let why = program.json(["why", "--json", "--arch=amd64", &image, "/usr/lib/other"]);
    assert_eq!((&why["layers"][0]["type"], &why["layers"][0]["layer"]), (&"hard link".into(), &2.into()));
    assert_eq!(why["layers"][0]["target"], "usr/lib/library");
    let text = program.ok(["why", "--arch=amd64", &image, "/usr/lib/other"]);
    assert!(text.contains("type      hard link to a lower layer\ntarget    usr/lib/library\n"), "{text}");
}

#[test]
fn a_deletion_names_its_layer() {
    let (program, image, digests) = program();
    let why = program.json(["why", "--json", "--arch=amd64", &image, "/doomed/deep/file"]);
    assert_eq!((&why["present"], &why["layers"]), (&false.into(), &json!([])));
    let by = &why["deletedBy"];
    assert_eq!((&by["layer"], &by["cause"], &by["path"]), (&1.into(), &"whiteout".into(), &"/doomed".into()));
    assert_eq!((&by["digest"], &why["hidden"][0]["layer"]), (&digests[1].clone().into(), &0.into()));
    let text = program.ok(["why", "--arch=amd64", &image, "/doomed/deep/file"]);
    assert!(text.contains("deleted   layer 2 of 3\nreason    whiteout: /doomed\n"), "{text}");
}

#[test]
fn a_path_of_no_layer_is_not_found() {
    let (program, image, _) = program();
    for path in ["/never", "/nothing", "/usr/lib/library/below"] {
        let message = program.fails(3, ["why", "--arch=amd64", &image, path]);
        assert!(message.contains(path), "{message}");
    }
}
