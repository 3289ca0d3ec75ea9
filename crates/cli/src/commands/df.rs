//! `df`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use vmroot::{Area, Client, Digest, ImageSpace, LayerSpace, RootSpace, SpaceUsage, Usage};

use crate::context::Context;
use crate::docker_format::{align_rows, parse_time, short_id, since};
use crate::output::{self, format_bytes};

/// Prints the disk usage of the areas of the cache, of some images, or of all images.
pub(crate) fn df(context: &Context, names: &[String], all: bool) -> anyhow::Result<()> {
    match (names, all || context.verbose()) {
        ([], false) => areas(context),
        ([], true) => all_images(context),
        (names, _) => some_images(context, names),
    }
}

/// Prints the disk usage of the areas of the cache.
fn areas(context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    context.note_missing_cache();
    note_shared_caches(&client);
    let usage = client.usage()?;
    if context.json() {
        return Ok(output::print_json(&usage_json(&usage))?);
    }
    let row = |(name, area): &(&str, Area)| {
        vec![(*name).to_owned(), area.files.to_string(), format_bytes(area.bytes), format_bytes(area.disk_bytes)]
    };
    // The quarantine is usually empty.
    let shown = |(name, area): &&(&str, Area)| *name != "quarantine" || area.files > 0;
    let rows: Vec<_> = named_areas(&usage).iter().filter(shown).map(row).collect();
    Ok(output::print_table(&["AREA", "FILES", "BYTES", "ON DISK"], &rows)?)
}

fn named_areas(usage: &Usage) -> [(&'static str, Area); 6] {
    [
        ("blobs", usage.blobs),
        ("unfinished", usage.unfinished),
        ("layers", usage.layers),
        ("roots", usage.roots),
        ("images", usage.images),
        ("quarantine", usage.quarantine),
    ]
}

/// Notes that shared caches are not counted.
fn note_shared_caches(client: &Client) {
    for shared in client.shared_caches() {
        let shared = shared.display();
        output::print_note(&format!("the shared cache {shared} is not counted; `vmroot df --cache {shared}` does"));
    }
}

/// Prints the disk usage of all images, layers and roots.
fn all_images(context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    context.note_missing_cache();
    note_shared_caches(&client);
    let (space, usage) = (client.space()?, client.usage()?);
    if context.json() {
        let mut object = as_object(usage_json(&usage));
        object.insert("space".to_owned(), space_json(&space, |_| true));
        object.insert("shared".to_owned(), usage_json(&space.shared));
        object.insert("unneeded".to_owned(), usage_json(&space.unneeded));
        return Ok(output::print_json(&Value::Object(object))?);
    }
    print_tables(&space, |_| true)?;
    let unique: u64 = space.images.iter().map(|image| image.unique.total().disk_bytes).sum();
    let [shared, unneeded, total] = [&space.shared, &space.unneeded, &usage].map(|it| it.total().disk_bytes);
    let texts = [unique, shared, unneeded, total].map(format_bytes);
    let [unique, shared, unneeded, total] = texts;
    Ok(output::print_line(format!("unique {unique}, shared {shared}, needed by no image {unneeded}, total {total}"))?)
}

/// Prints the disk usage of some images, and the space that removing all of them frees.
fn some_images(context: &Context, names: &[String]) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut ids: Vec<Digest> = Vec::new();
    for name in names {
        let image = client.find(name, context.requested_platform())?;
        if let Some(shared) = &image.record().shared_cache {
            let shared = shared.display();
            output::print_note(&format!(
                "{name} takes no space here: it is in the shared cache {shared}; `vmroot df --cache {shared} {name}` \
                 prints its space there"
            ));
        }
        let id = *image.id();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let space = client.space()?;
    let together = space.unique_to(&ids);
    if context.json() {
        let mut object = as_object(space_json(&space, |id| ids.contains(id)));
        object.insert("unique".to_owned(), usage_json(&together));
        return Ok(output::print_json(&Value::Object(object))?);
    }
    print_tables(&space, |id| ids.contains(id))?;
    let images = if ids.len() == 1 { "the image" } else { "these images" };
    let freed = format_bytes(together.total().disk_bytes);
    Ok(output::print_line(format!("removing {images} and `vmroot gc` free {freed}"))?)
}

fn as_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn area_json(area: &Area) -> Value {
    json!({"files": area.files, "bytes": area.bytes, "diskBytes": area.disk_bytes})
}

fn usage_json(usage: &Usage) -> Value {
    let areas = named_areas(usage);
    Value::Object(areas.iter().map(|(name, area)| ((*name).to_owned(), area_json(area))).collect())
}

fn space_json(space: &SpaceUsage, is_meant: impl Fn(&Digest) -> bool) -> Value {
    let image = |image: &ImageSpace| {
        json!({
            "id": image.id,
            "references": image.references.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "platforms": image.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "created": image.created,
            "size": area_json(&image.total.total()),
            "shared": area_json(&image.shared()),
            "unique": area_json(&image.unique.total()),
            "uniqueAreas": usage_json(&image.unique),
        })
    };
    let layer = |layer: &LayerSpace| {
        json!({
            "diffId": layer.diff_id,
            "blobs": area_json(&layer.blobs),
            "files": area_json(&layer.files),
            "images": layer.images,
        })
    };
    let root =
        |root: &RootSpace| json!({"chainId": root.chain_id, "files": area_json(&root.files), "images": root.images});
    let images = space.images.iter().filter(|image| is_meant(&image.id)).map(image);
    let layers = space.layers.iter().filter(|layer| layer.images.iter().any(&is_meant)).map(layer);
    let roots = space.roots.iter().filter(|root| root.images.iter().any(&is_meant)).map(root);
    json!({
        "images": images.collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
        "roots": roots.collect::<Vec<_>>(),
    })
}

/// Prints a table for images, layers and roots each, with the columns of `docker system df -v` and the
/// units of the other commands.
fn print_tables(space: &SpaceUsage, is_meant: impl Fn(&Digest) -> bool) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let header = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut images = vec![header(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE"])];
    for image in space.images.iter().filter(|image| is_meant(&image.id)) {
        images.extend(image_rows(image, now));
    }
    let mut layers = vec![header(&["LAYER", "IMAGES", "BLOBS", "FILES", "SIZE"])];
    for layer in space.layers.iter().filter(|layer| layer.images.iter().any(&is_meant)) {
        layers.push(vec![
            short_id(&layer.diff_id.to_string()).to_owned(),
            layer.images.len().to_string(),
            format_bytes(layer.blobs.disk_bytes),
            format_bytes(layer.files.disk_bytes),
            format_bytes(layer.blobs.disk_bytes + layer.files.disk_bytes),
        ]);
    }
    let mut roots = vec![header(&["ROOT", "IMAGES", "SIZE"])];
    for root in space.roots.iter().filter(|root| root.images.iter().any(&is_meant)) {
        let size = format_bytes(root.files.disk_bytes);
        roots.push(vec![short_id(&root.chain_id.to_string()).to_owned(), root.images.len().to_string(), size]);
    }
    for (title, rows) in [("Images", images), ("Layers", layers), ("Roots", roots)] {
        output::print_text(format!("{title} space usage:\n\n").as_bytes())?;
        output::print_text(&align_rows(&rows))?;
        output::print_text(b"\n")?;
    }
    Ok(())
}

/// Returns a row for each name of an image, as docker does.
fn image_rows(image: &ImageSpace, now: i64) -> Vec<Vec<String>> {
    let none = || "<none>".to_owned();
    let mut names: Vec<(String, String)> = Vec::new();
    for reference in &image.references {
        let familiar = reference.familiar();
        let name = match (reference.tag(), reference.digest()) {
            (Some(tag), _) => (
                familiar.split('@').next().unwrap_or_default().trim_end_matches(&format!(":{tag}")).to_owned(),
                tag.to_owned(),
            ),
            (None, _) => (familiar.split('@').next().unwrap_or_default().to_owned(), none()),
        };
        names.push(name);
    }
    if names.is_empty() {
        names.push((none(), none()));
    }
    let row = |(repository, tag): (String, String)| {
        vec![
            repository,
            tag,
            short_id(&image.id.to_string()).to_owned(),
            since(parse_time(image.created.as_deref()), now),
            format_bytes(image.total.total().disk_bytes),
            format_bytes(image.shared().disk_bytes),
            format_bytes(image.unique.total().disk_bytes),
        ]
    };
    names.into_iter().map(row).collect()
}
