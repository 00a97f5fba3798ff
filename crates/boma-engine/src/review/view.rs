//! A review as stable, versioned data for other programs: what `--output json` prints.

use boma_problem::Problem;
use jiff::Timestamp;
use serde::Serialize;

use super::{Review, Verdict};
use crate::plan::{Danger, DangerKind, PlanView, SubjectView};
use crate::source::Revision;

/// A review for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewView {
    /// Version of this format.
    pub version: u32,
    /// The commit that is merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<CommitView>,
    /// The commit that is merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<CommitView>,
    /// Whether the manifests have no errors.
    pub valid: bool,
    /// Errors and warnings of the manifests.
    pub problems: Vec<Problem>,
    /// Errors of the base's manifests, for which there is no plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub base_problems: Vec<Problem>,
    /// What is done; none: not known, or nothing because of errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanView>,
    /// What of it is to be looked at, the gravest first.
    pub dangers: Vec<DangerView>,
    /// What is to be done on what runs without the merge; none: what runs was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<PlanView>,
}

/// A commit for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitView {
    /// Its full name.
    pub commit: String,
    /// Who wrote it.
    pub author: String,
    /// When it was committed.
    pub at: Timestamp,
    /// First line of its message.
    pub subject: String,
}

/// A danger for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DangerView {
    /// Of which kind.
    #[serde(rename = "danger")]
    pub kind: DangerKind,
    /// Which resource.
    #[serde(flatten)]
    pub subject: SubjectView,
    /// What it means.
    pub message: String,
}

impl From<&Revision> for CommitView {
    fn from(revision: &Revision) -> Self {
        Self {
            commit: revision.commit.clone(),
            author: revision.author.clone(),
            at: revision.at,
            subject: revision.subject.clone(),
        }
    }
}

impl From<&Danger> for DangerView {
    fn from(danger: &Danger) -> Self {
        Self {
            kind: danger.kind,
            subject: (&danger.subject).into(),
            message: danger.text.clone(),
        }
    }
}

impl From<&Review> for ReviewView {
    fn from(review: &Review) -> Self {
        let (plan, dangers, base_problems) = match &review.verdict {
            Verdict::Invalid => (None, Vec::new(), Vec::new()),
            Verdict::Unknown(problems) => (None, Vec::new(), problems.clone()),
            Verdict::Planned { plan, dangers } => {
                let dangers = dangers.iter().map(DangerView::from).collect();
                (Some(PlanView::from(&**plan)), dangers, Vec::new())
            }
        };
        Self {
            version: 1,
            base: review.base.as_ref().map(CommitView::from),
            head: review.head.as_ref().map(CommitView::from),
            valid: !matches!(review.verdict, Verdict::Invalid),
            problems: review.problems.clone(),
            base_problems,
            plan,
            dangers,
            standing: review.standing.as_deref().map(PlanView::from),
        }
    }
}
