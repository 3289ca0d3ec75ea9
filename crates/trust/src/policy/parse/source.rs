//! Reading the members that name keys or certificates.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use vmroot_sigstore::strict_json::Object;

use crate::DataSource;

use super::{Parsed, at};

/// The most files or keys of one requirement.
const SOURCES_LIMIT: usize = 1000;

/// A member that names keys or certificates.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// The path of a file.
    Path(&'static str),
    /// The paths of files.
    Paths(&'static str),
    /// The contents of a file in base64.
    Data(&'static str),
    /// The contents of files in base64.
    Datas(&'static str),
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Path(name) | Self::Paths(name) | Self::Data(name) | Self::Datas(name) => name,
        }
    }

    fn take(self, object: &mut Object) -> Parsed<Option<DataSource>> {
        let name = self.name();
        let texts = match self {
            Self::Path(_) | Self::Data(_) => object.optional_string(name)?.map(|text| vec![text]),
            Self::Paths(_) | Self::Datas(_) => object.optional_strings(name)?,
        };
        let Some(texts) = texts else { return Ok(None) };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return at(object, format_args!("has an empty {name}"));
        }
        if texts.len() > SOURCES_LIMIT {
            return at(object, format_args!("has more than {SOURCES_LIMIT} elements in {name}"));
        }
        if let Self::Path(_) | Self::Paths(_) = self {
            return Ok(Some(DataSource::Paths(texts.into_iter().map(PathBuf::from).collect())));
        }
        match texts.iter().map(|text| BASE64.decode(text)).collect() {
            Ok(data) => Ok(Some(DataSource::Data(data))),
            Err(error) => at(object, format_args!("has a {name} that is not base64: {error}")),
        }
    }
}

/// Takes at most one of several members.
pub(super) fn source(object: &mut Object, forms: &[Form]) -> Parsed<Option<DataSource>> {
    let mut found = None;
    for form in forms {
        let Some(source) = form.take(object)? else { continue };
        if found.is_some() {
            return at(object, format_args!("may have only one of {}", names(forms)));
        }
        found = Some(source);
    }
    Ok(found)
}

/// Takes exactly one of several members.
pub(super) fn one_source(object: &mut Object, forms: &[Form]) -> Parsed<DataSource> {
    match source(object, forms)? {
        Some(source) => Ok(source),
        None => at(object, format_args!("needs one of {}", names(forms))),
    }
}

fn names(forms: &[Form]) -> String {
    forms.iter().map(|form| form.name()).collect::<Vec<_>>().join(", ")
}
