//! Layers that are elsewhere: their descriptors have URLs (OCI image-spec, descriptor.md, `urls`).

use std::fmt;
use std::sync::Arc;

use vmroot_model::Descriptor;

use crate::{BlobBody, Result};

/// Fetches a layer from the URLs of its descriptor, from an offset in bytes on.
type Fetch = dyn Fn(&Descriptor, u64) -> Result<BlobBody> + Send + Sync;

/// Fetches foreign layers that an OCI layout does not have.
#[derive(Clone)]
pub struct ForeignLayers(Arc<Fetch>);

impl ForeignLayers {
    /// Fetches layers with a function. Its second argument is an offset in bytes, which the body may ignore.
    pub fn new(fetch: impl Fn(&Descriptor, u64) -> Result<BlobBody> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fetch))
    }

    /// Fetches layers by HTTP, without credentials and from public addresses only
    /// ([`Client::foreign_layer`](vmroot_registry::Client::foreign_layer)).
    #[cfg(feature = "registry")]
    pub fn by_http(client: vmroot_registry::Client) -> Self {
        Self::new(move |layer, offset| {
            let body = client.foreign_layer(layer, offset)?;
            Ok(BlobBody { offset: body.offset(), size: Some(layer.size), reader: Box::new(body) })
        })
    }

    pub(crate) fn fetch(&self, layer: &Descriptor, offset: u64) -> Result<BlobBody> {
        (self.0)(layer, offset)
    }
}

impl fmt::Debug for ForeignLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignLayers")
    }
}
