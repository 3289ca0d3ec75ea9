//! The Go types of skopeo's output, which decide the order of fields, and the names that templates use.

use vmroot::go_template::{Field, Struct, Type};

/// The type of `skopeo inspect`.
pub(super) fn output() -> Type {
    let layer = Struct {
        name: "types.ImageInspectLayer",
        fields: vec![
            Field::new("MIMEType", Type::String),
            Field::new("Digest", Type::Digest),
            Field::new("Size", Type::Int),
            Field::new("Annotations", Type::String.map()),
        ],
    };
    Type::Struct(Struct {
        name: "inspect.Output",
        fields: vec![
            Field::new("Name", Type::String).omit_empty(),
            Field::new("Tag", Type::String).omit_empty(),
            Field::new("Digest", Type::Digest),
            Field::new("RepoTags", Type::String.slice()),
            Field::new("Created", Type::Time.pointer()),
            Field::new("DockerVersion", Type::String),
            Field::new("Labels", Type::String.map()),
            Field::new("Architecture", Type::String),
            Field::new("Os", Type::String),
            Field::new("Layers", Type::String.slice()),
            Field::new("LayersData", Type::Struct(layer).slice()),
            Field::new("Env", Type::String.slice()),
        ],
    })
}

/// The type of `skopeo inspect --config`: `v1.Image` of the Go package of OCI's image specification.
pub(super) fn config() -> Type {
    let platform = Struct {
        name: "v1.Platform",
        fields: vec![
            Field::with_key("Architecture", "architecture", Type::String),
            Field::with_key("OS", "os", Type::String),
            Field::with_key("OSVersion", "os.version", Type::String).omit_empty(),
            Field::with_key("OSFeatures", "os.features", Type::String.slice()).omit_empty(),
            Field::with_key("Variant", "variant", Type::String).omit_empty(),
        ],
    };
    let root_fs = Struct {
        name: "v1.RootFS",
        fields: vec![
            Field::with_key("Type", "type", Type::String),
            Field::with_key("DiffIDs", "diff_ids", Type::Digest.slice()),
        ],
    };
    let history = Struct {
        name: "v1.History",
        fields: vec![
            Field::with_key("Created", "created", Type::Time.pointer()).omit_empty(),
            Field::with_key("CreatedBy", "created_by", Type::String).omit_empty(),
            Field::with_key("Author", "author", Type::String).omit_empty(),
            Field::with_key("Comment", "comment", Type::String).omit_empty(),
            Field::with_key("EmptyLayer", "empty_layer", Type::Bool).omit_empty(),
        ],
    };
    let image = Struct {
        name: "v1.Image",
        fields: vec![
            Field::with_key("Created", "created", Type::Time.pointer()).omit_empty(),
            Field::with_key("Author", "author", Type::String).omit_empty(),
            Field::embedded("Platform", platform),
            Field::with_key("Config", "config", Type::Struct(container())).omit_zero(),
            Field::with_key("RootFS", "rootfs", Type::Struct(root_fs)),
            Field::with_key("History", "history", Type::Struct(history).slice()).omit_empty(),
        ],
    };
    Type::Struct(image)
}

fn container() -> Struct {
    let set = || Type::Struct(Struct { name: "struct {}", fields: Vec::new() }).map();
    Struct {
        name: "v1.ImageConfig",
        fields: vec![
            Field::new("User", Type::String).omit_empty(),
            Field::new("ExposedPorts", set()).omit_empty(),
            Field::new("Env", Type::String.slice()).omit_empty(),
            Field::new("Entrypoint", Type::String.slice()).omit_empty(),
            Field::new("Cmd", Type::String.slice()).omit_empty(),
            Field::new("Volumes", set()).omit_empty(),
            Field::new("WorkingDir", Type::String).omit_empty(),
            Field::new("Labels", Type::String.map()).omit_empty(),
            Field::new("StopSignal", Type::String).omit_empty(),
            Field::new("ArgsEscaped", Type::Bool).omit_empty(),
        ],
    }
}
