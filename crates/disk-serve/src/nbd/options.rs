//! Parses the data of options.

use super::connection::Fields;
use super::protocol::{CONTEXT, EXPORT_NAME};

/// The data of `NBD_OPT_INFO` and `NBD_OPT_GO`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InfoRequest<'a> {
    /// The name of the export.
    pub(super) name: &'a [u8],
    /// The types of information that the client requests.
    pub(super) kinds: Vec<u16>,
}

/// Returns whether the export has this name.
pub(super) fn is_export(name: &[u8]) -> bool {
    name.is_empty() || name == EXPORT_NAME.as_bytes()
}

/// Returns `None` if the lengths in the data do not agree with its length.
pub(super) fn parse_info(data: &[u8]) -> Option<InfoRequest<'_>> {
    let mut fields = Fields(data);
    let name = fields.name()?;
    let count = usize::from(fields.u16()?);
    if fields.0.len() != 2 * count {
        return None;
    }
    let kinds = std::iter::from_fn(|| fields.u16()).collect();
    Some(InfoRequest { name, kinds })
}

/// Returns the name of the export and the queries; `None` if the lengths in the data do not agree with its length.
pub(super) fn parse_contexts(data: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let mut fields = Fields(data);
    let name = fields.name()?;
    let count = fields.u32()?;
    let mut queries = Vec::new();
    // Each query has at least the four bytes of its length, so the data limits their number.
    for _ in 0..count {
        queries.push(fields.name()?);
    }
    fields.0.is_empty().then_some((name, queries))
}

/// Returns whether queries name the context. To list contexts, no query stands for all of them, and so does a namespace.
pub(super) fn matches_context(queries: &[&[u8]], selects: bool) -> bool {
    let namespace = &CONTEXT.as_bytes()[..=4];
    let lists = |query: &&[u8]| !selects && *query == namespace;
    (queries.is_empty() && !selects) || queries.iter().any(|query| *query == CONTEXT.as_bytes() || lists(query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_must_agree() {
        let valid = [&[0, 0, 0, 4][..], b"root", &[0, 2, 0, 1, 0, 3]].concat();
        assert_eq!(parse_info(&valid), Some(InfoRequest { name: b"root", kinds: vec![1, 3] }));
        for length in 0..valid.len() {
            assert_eq!(parse_info(&valid[..length]), None, "{length}");
        }
        assert_eq!(parse_info(&[&valid[..], &[0]].concat()), None);
        assert_eq!(parse_info(&[0, 0, 0x10, 1, 0, 0]), None);
    }

    #[test]
    fn contexts_are_found_by_name_and_namespace() {
        let data = [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 15][..], b"base:allocation"].concat();
        let (name, queries) = parse_contexts(&data).unwrap();
        assert!(name.is_empty() && matches_context(&queries, true));
        assert!(parse_contexts(&data[..data.len() - 1]).is_none());
        assert!(parse_contexts(&[0, 0, 0, 0, 255, 255, 255, 255]).is_none());
        assert!(matches_context(&[b"base:"], false) && !matches_context(&[b"base:"], true));
        assert!(matches_context(&[], false) && !matches_context(&[], true));
        assert!(!matches_context(&[b"qemu:"], false));
    }
}
