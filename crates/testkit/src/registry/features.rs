//! The parts of the specification that registries implement differently.

/// The features of a registry.
#[derive(Clone, Debug)]
pub struct Features {
    /// The minimum length in bytes of all chunks of an upload but the last.
    pub min_chunk: Option<u64>,
    /// The number of entries on a page of a list, unless the client asks for fewer.
    pub page_size: usize,
    /// Whether there is a list of referrers, and `OCI-Subject` in answers.
    pub referrers: bool,
    /// Whether lists of referrers are filtered by the type of artifact.
    pub filters: bool,
    /// Whether manifests can be deleted.
    pub delete: bool,
    /// Whether manifests have an `ETag`, and `If-Match` is honoured.
    pub etags: bool,
    /// Whether several tags can be written in one request, with `OCI-Tag` in the answer.
    pub multi_tag: bool,
    /// Whether answers with manifests have the header of distribution, the registry of the CNCF.
    pub distribution: bool,
    /// The largest manifest in bytes.
    pub manifest_limit: u64,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            min_chunk: None,
            page_size: usize::MAX,
            referrers: true,
            filters: true,
            delete: true,
            etags: true,
            multi_tag: false,
            distribution: false,
            manifest_limit: 4 << 20,
        }
    }
}
