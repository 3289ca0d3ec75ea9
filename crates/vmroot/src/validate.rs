//! Checks of user input before any work is done with it.

use std::path::Path;

use vmroot_model::Reference;

use crate::{Client, Result};

/// Checks that a name is a valid reference. With a client, also checks that its registry has the image, with one
/// request.
///
/// ```
/// assert!(vmroot::validate_image_name("alpine:3.20", None).is_ok());
/// assert!(vmroot::validate_image_name("Alpine", None).is_err());
/// ```
///
/// # Errors
/// - [`Error::Model`](crate::Error::Model): the name is malformed.
/// - [`Error::Registry`](crate::Error::Registry): the registry does not have the image, or cannot be reached.
pub fn validate_image_name(name: &str, registry: Option<&Client>) -> Result<()> {
    let reference = Reference::parse(name)?;
    if let Some(client) = registry {
        client.registry().head_manifest(&reference)?;
    }
    Ok(())
}

/// Checks that a file is a docker save archive with at least one image.
///
/// ```
/// let error = vmroot::validate_tar("/nonexistent.tar".as_ref()).unwrap_err();
/// assert!(error.to_string().contains("/nonexistent.tar"));
/// ```
///
/// # Errors
/// [`Error::Source`](crate::Error::Source): the file cannot be read, or is not such an archive. The error names the
/// member.
pub fn validate_tar(path: &Path) -> Result<()> {
    Ok(vmroot_transport::validate_tar(path)?)
}
