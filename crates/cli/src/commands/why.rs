//! `why`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};
use vmroot::layer_index::Inode;
use vmroot::model::History;
use vmroot::{Hiding, HidingCause, Image, InodeKind, Version, Why};

use super::diff::layer_json;
use super::files::{bytes_to_text, kind_name};
use crate::context::Context;
use crate::output;

/// Prints which layer brought a path or deleted it, and the versions that it hides.
pub(crate) fn why(context: &Context, name: &str, path: &Path) -> anyhow::Result<()> {
    let client = context.client()?;
    let (image, why) = context.read_image(&client, name, |image| client.why(image, path.as_os_str().as_bytes()))?;
    let explanation = Explanation { image: &image, why: &why, entries: entries(&image) };
    match context.json() {
        true => Ok(output::print_json(&explanation.to_value())?),
        false => explanation.print(),
    }
}

/// Returns the entry of the history for each layer.
fn entries(image: &Image) -> Vec<Option<History>> {
    let mut entries = vec![None; image.record().layers.len()];
    for step in image.steps() {
        if let Some(entry) = step.layer.and_then(|layer| entries.get_mut(layer)) {
            *entry = step.entry;
        }
    }
    entries
}

struct Explanation<'a> {
    image: &'a Image,
    why: &'a Why,
    entries: Vec<Option<History>>,
}

impl Explanation<'_> {
    fn inode(&self, version: &Version) -> Inode<'_> {
        self.why.layers[version.layer].inode(version.ino)
    }

    /// Returns the version whose attributes the root shows.
    fn has_attributes(&self, version: &Version) -> bool {
        self.why.origin.attributes == Some(version.layer)
    }

    fn print(&self) -> anyhow::Result<()> {
        let (located, origin) = (&self.why.located, &self.why.origin);
        let mut lines = output::Lines::new();
        lines.print([b"path      ", &located.path[..]].concat())?;
        for link in &located.links {
            lines.print([b"link      ", &link.path[..], b" -> ", &link.target].concat())?;
        }
        if let Some(by) = origin.deleted_by() {
            self.print_deletion(&mut lines, by)?;
        }
        for version in &origin.versions {
            self.print_version(&mut lines, "layer", version, &[])?;
        }
        for hidden in origin.hidden.iter().rev() {
            let by = &hidden.by;
            let reason = format!("{} in layer {}", cause_name(by.cause), by.layer + 1);
            self.print_version(&mut lines, "hidden", &hidden.version, &[reason.as_bytes(), b": ", &by.path].concat())?;
        }
        Ok(lines.finish()?)
    }

    fn print_deletion(&self, lines: &mut output::Lines, by: &Hiding) -> anyhow::Result<()> {
        lines.print("")?;
        lines.print(format!("deleted   layer {} of {}", by.layer + 1, self.image.record().layers.len()))?;
        lines.print([format!("reason    {}: ", cause_name(by.cause)).as_bytes(), &by.path].concat())?;
        self.print_layer(lines, by.layer)
    }

    /// Prints a version, its layer, and the reason why it is hidden.
    fn print_version(
        &self,
        lines: &mut output::Lines,
        label: &str,
        version: &Version,
        reason: &[u8],
    ) -> anyhow::Result<()> {
        let inode = self.inode(version);
        lines.print("")?;
        lines.print(format!("{label:9} layer {} of {}", version.layer + 1, self.image.record().layers.len()))?;
        if !reason.is_empty() {
            lines.print([b"reason    ", reason].concat())?;
        }
        let kind = match version.kind {
            InodeKind::Link => "hard link to a lower layer",
            kind => kind_name(kind),
        };
        let note = match (version.is_implicit, reason.is_empty() && self.has_attributes(version)) {
            (true, _) => ", which other entries of the layer are in",
            (false, true) if version.kind == InodeKind::Directory => ", with the attributes",
            _ => "",
        };
        lines.print(format!("type      {kind}{note}"))?;
        if version.kind == InodeKind::Regular {
            lines.print(format!("size      {}", inode.size()))?;
        }
        if !inode.link_target().is_empty() {
            lines.print([b"target    ", inode.link_target()].concat())?;
        }
        if version.kind != InodeKind::Link && !version.is_implicit {
            lines.print(format!("mode      {:04o}", inode.mode() & 0o7777))?;
            lines.print(format!("owner     {}:{}", inode.uid(), inode.gid()))?;
        }
        self.print_layer(lines, version.layer)
    }

    fn print_layer(&self, lines: &mut output::Lines, layer: usize) -> anyhow::Result<()> {
        if let Some(record) = self.image.record().layers.get(layer) {
            lines.print(format!("digest    {}", record.digest))?;
            lines.print(format!("diff id   {}", record.diff_id))?;
        }
        let entry = self.entries.get(layer).and_then(Option::as_ref);
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().replace(['\n', '\r'], " ");
        let field = |label: &str, read: fn(&History) -> &Option<String>| {
            let text = text(read(entry?));
            (!text.is_empty()).then(|| format!("{label:9} {text}"))
        };
        let fields = [
            field("created", |entry| &entry.created),
            field("command", |entry| &entry.created_by),
            field("comment", |entry| &entry.comment),
        ];
        fields.into_iter().flatten().try_for_each(|line| lines.print(line))?;
        Ok(())
    }

    fn to_value(&self) -> Value {
        let (located, origin) = (&self.why.located, &self.why.origin);
        let link = |link: &vmroot::FollowedLink| json!({"path": bytes_to_text(&link.path), "target": bytes_to_text(&link.target)});
        let hidden = |hidden: &vmroot::Hidden| {
            let mut value = self.version_value(&hidden.version);
            value["hiddenBy"] = hiding_value(&hidden.by, self.layer_value(hidden.by.layer));
            value
        };
        let version = |version: &Version| {
            let mut value = self.version_value(version);
            value["attributes"] = self.has_attributes(version).into();
            value
        };
        let deletion = origin.deleted_by();
        json!({
            "path": bytes_to_text(&located.path),
            "links": located.links.iter().map(link).collect::<Vec<_>>(),
            "present": !origin.versions.is_empty(),
            "layers": origin.versions.iter().map(version).collect::<Vec<_>>(),
            "attributesLayer": origin.attributes,
            "deletedBy": deletion.map(|by| hiding_value(by, self.layer_value(by.layer))),
            "hidden": origin.hidden.iter().rev().map(hidden).collect::<Vec<_>>(),
        })
    }

    /// Returns the number, the digests and the line of history of a layer.
    fn layer_value(&self, layer: usize) -> Value {
        let mut value = layer_json(layer, &self.image.record().layers);
        value["history"] = json!(self.entries.get(layer));
        value
    }

    fn version_value(&self, version: &Version) -> Value {
        let inode = self.inode(version);
        let mut value = self.layer_value(version.layer);
        value["type"] = json!(match version.kind {
            InodeKind::Link => "hard link",
            kind => kind_name(kind),
        });
        value["implicit"] = version.is_implicit.into();
        value["size"] = inode.size().into();
        value["mode"] = json!(format!("{:04o}", inode.mode() & 0o7777));
        value["uid"] = inode.uid().into();
        value["gid"] = inode.gid().into();
        let target = inode.link_target();
        value["target"] = json!((!target.is_empty()).then(|| bytes_to_text(target)));
        value
    }
}

fn hiding_value(by: &Hiding, mut layer: Value) -> Value {
    layer["cause"] = json!(match by.cause {
        HidingCause::Whiteout => "whiteout",
        HidingCause::Opaque => "opaque",
        HidingCause::Replaced => "replaced",
    });
    layer["path"] = json!(bytes_to_text(&by.path));
    layer
}

fn cause_name(cause: HidingCause) -> &'static str {
    match cause {
        HidingCause::Whiteout => "whiteout",
        HidingCause::Opaque => "opaque directory",
        HidingCause::Replaced => "replaced",
    }
}
