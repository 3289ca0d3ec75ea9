//! `lease`: keeps images in the cache.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vmroot::{Lease, LeasedImage};

use crate::args::LeaseCommand;
use crate::context::Context;
use crate::exit::Advised;
use crate::{output, times};

/// Creates, lists or releases leases.
pub(crate) fn lease(context: &Context, command: LeaseCommand) -> anyhow::Result<()> {
    match command {
        LeaseCommand::Create { images, id, expire } => create(context, &images, id.as_deref(), expire),
        LeaseCommand::List => list(context),
        LeaseCommand::Release { ids } => {
            let client = context.client()?;
            ids.iter().try_for_each(|id| client.release_lease(id))?;
            match context.json() {
                true => Ok(output::print_json(&json!(ids))?),
                false => Ok(()),
            }
        }
    }
}

fn create(context: &Context, names: &[String], id: Option<&str>, expire: Option<Duration>) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut images = Vec::new();
    for name in names {
        let image = client.find(name, context.requested_platform())?;
        context.note_platform(name, &image.record().platform);
        images.push(image);
    }
    let too_long = || Advised::usage("--expire: too long a time", "without --expire, a lease does not end by itself");
    let at = |time: Duration| SystemTime::now().checked_add(time).ok_or_else(too_long);
    let lease = client.create_lease(id, &images, expire.map(at).transpose()?)?;
    match context.json() {
        true => Ok(output::print_json(&to_json(&lease))?),
        false => Ok(output::print_line(&lease.id)?),
    }
}

fn list(context: &Context) -> anyhow::Result<()> {
    let leases = context.client()?.leases()?;
    context.note_missing_cache();
    if context.json() {
        return Ok(output::print_json(&leases.iter().map(to_json).collect())?);
    }
    if context.quiet() {
        return leases.iter().try_for_each(|lease| Ok(output::print_line(&lease.id)?));
    }
    let row = |lease: &Lease| {
        let expires = match lease.expires {
            None => "never".to_owned(),
            Some(at) => format!("in {}", until(at)),
        };
        vec![lease.id.clone(), expires, lease.images.iter().map(name).collect::<Vec<_>>().join(", ")]
    };
    Ok(output::print_table(&["ID", "EXPIRES", "IMAGES"], &leases.iter().map(row).collect::<Vec<_>>())?)
}

/// Returns the time until a lease ends.
fn until(expires: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_secs(expires);
    crate::human::format_age(at.duration_since(SystemTime::now()).unwrap_or_default())
}

fn name(image: &LeasedImage) -> String {
    image.reference.clone().unwrap_or_else(|| image.id.hex()[..12].to_owned())
}

fn to_json(lease: &Lease) -> Value {
    let image =
        |image: &LeasedImage| json!({ "id": image.id, "reference": image.reference, "platform": image.platform });
    json!({
        "id": lease.id,
        "created": times::rfc3339_of_seconds(lease.created),
        "expires": lease.expires.and_then(times::rfc3339_of_seconds),
        "images": lease.images.iter().map(image).collect::<Vec<_>>(),
    })
}
