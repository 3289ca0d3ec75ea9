//! Checks of user input before any work is done with it.

use std::path::Path;

use vmroot_model::Reference;

use crate::Result;

/// Checks that a name is a valid reference.
///
/// ```
/// assert!(vmroot::validate_image_name("alpine:3.20").is_ok());
/// assert!(vmroot::validate_image_name("Alpine").is_err());
/// ```
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage): the name is malformed.
pub fn validate_image_name(name: &str) -> Result<()> {
    Reference::parse(name)?;
    Ok(())
}

#[cfg(feature = "registry")]
impl crate::Client {
    /// Checks that a registry has an image, with one request.
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the name is malformed.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the registry does not have the image.
    /// - The registry refused, or cannot be reached.
    pub fn validate_remote(&self, name: &str) -> Result<()> {
        self.registry().head_manifest(&Reference::parse(name)?)?;
        Ok(())
    }
}

/// Checks that a file is a docker save archive with at least one image.
///
/// ```
/// let error = vmroot::validate_tar("/nonexistent.tar".as_ref()).unwrap_err();
/// assert!(error.to_string().contains("/nonexistent.tar"));
/// ```
///
/// # Errors
/// The file cannot be read, or is not such an archive. The message names the member.
pub fn validate_tar(path: &Path) -> Result<()> {
    Ok(vmroot_transport::validate_tar(path)?)
}
