//! Advice to the user for files that images have lost.

use super::needs::Role;
use super::{AffectedImage, Check, FileKind, Finding, FindingState};

impl Check<'_> {
    /// Adds advice to the findings of lost files. It depends on the findings of other files.
    pub(super) fn advise(&self, findings: &mut [Finding]) {
        for finding in findings.iter_mut().filter(|finding| finding.state == FindingState::Lost) {
            let advice = match finding.kind {
                FileKind::Blob => self.advice_for_blob(finding),
                FileKind::Layer | FileKind::Root => Some(cannot_be_used(&finding.images)),
                FileKind::Record => Some(
                    "its image has lost this name: pull or load it again before `vmroot gc` removes its files"
                        .to_owned(),
                ),
                FileKind::Metadata => Some("the image's parent and times are not known any more".to_owned()),
                FileKind::Partial | FileKind::Journal | FileKind::Foreign => None,
            };
            finding.advice = finding.advice.take().or(advice);
        }
    }

    fn advice_for_blob(&self, finding: &Finding) -> Option<String> {
        let digest = finding.digest?;
        let is_usable = self.needs.of_blob(&digest).iter().all(|it| match it.role {
            Role::Config => false,
            Role::Index | Role::Manifest => true,
            Role::Layer(position) => self.has_layer(&it.record.layers[position].diff_id),
        });
        Some(match is_usable {
            true => {
                "the image can be used, but not saved or copied; `vmroot verify --repair` fetches the blob when its \
                     source has it again"
                    .to_owned()
            }
            false => cannot_be_used(&finding.images),
        })
    }
}

/// Returns the advice for images that cannot be used.
fn cannot_be_used(images: &[AffectedImage]) -> String {
    let Some(first) = images.first() else { return "the image cannot be used".to_owned() };
    let name = first.name();
    let again = match &first.loaded_from {
        Some(origin) => format!("load {name} again from {origin}"),
        None if first.reference.is_some() => format!("`vmroot pull {name}` when its registry has it"),
        None => format!("make {name} again"),
    };
    let others = if images.len() > 1 { ", and the others likewise" } else { "" };
    format!("the image cannot be used: {again}, or remove it with `vmroot rm {name}`{others}")
}
