//! The policy on signatures that the command line or the user's files name.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use vmroot::Admission;
use vmroot::trust::Policy;

use crate::args::{Global, PolicyArguments};
use crate::environment;

/// Returns the policy that images must meet, or `None` if there is none.
///
/// # Errors
/// A policy cannot be read, or is invalid.
pub(crate) fn admission(global: &Global) -> anyhow::Result<Option<Admission>> {
    let PolicyArguments { require_signed, .. } = global.policy;
    let policy = match base(global)? {
        None if !require_signed => return Ok(None),
        None => Policy::insecure(),
        Some(policy) => policy,
    };
    Ok(Some(Admission { policy: Arc::new(policy), require_signed }))
}

fn base(global: &Global) -> anyhow::Result<Option<Policy>> {
    let arguments = &global.policy;
    // As in skopeo, the option is stronger than the others.
    if arguments.insecure_policy {
        return Ok(None);
    }
    let policy = match &arguments.policy {
        Some(path) => Some(Policy::read(path).map_err(vmroot::Error::from).context("--policy")?),
        None => Policy::find(&files(global)).map_err(vmroot::Error::from)?,
    };
    let Some(path) = &arguments.vmroot_policy else { return Ok(policy) };
    let overlay = Policy::read_overlay(path).map_err(vmroot::Error::from).context("--vmroot-policy")?;
    Ok(Some(match policy {
        Some(policy) => policy.with_overlay(overlay),
        None => overlay,
    }))
}

/// Returns the files in which a policy is looked for.
pub(crate) fn files(global: &Global) -> Vec<PathBuf> {
    environment::locations(&global.registry).policies()
}
