//! The plan as stable, versioned data for other programs: what `--output json` prints. It holds
//! no secret, because it is made of the plan's words, not of its specs.

use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Plan;
use super::display::lines;
use crate::catalog::Subject;

/// A plan for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Version of this format.
    pub version: u32,
    /// Whether there is nothing to do, to wait for, or in the way.
    pub empty: bool,
    /// What to do.
    pub steps: Vec<StepView>,
    /// What is waited for.
    pub waiting: Vec<WaitingView>,
    /// What cannot be done.
    pub blocked: Vec<BlockedView>,
    /// What a person should know.
    pub warnings: Vec<Problem>,
}

/// A step for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Its name within the plan.
    pub id: u32,
    /// Steps that go before it.
    pub needs: Vec<u32>,
    /// Stable kebab-case name of what it does.
    pub action: &'static str,
    /// What it is about.
    #[serde(flatten)]
    pub subject: SubjectView,
    /// What it changes, in words.
    pub changes: Vec<String>,
}

/// A resource for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubjectView {
    /// `Database`, `Application` or `Installation`.
    pub kind: &'static str,
    /// `organization/organizational-unit/environment/project`; empty for the installation.
    pub project: String,
    /// `metadata.name`; empty for the installation.
    pub name: String,
}

/// Something that is waited for, for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingView {
    /// Stable kebab-case name of the reason.
    pub reason: &'static str,
    /// Who waits.
    #[serde(flatten)]
    pub subject: SubjectView,
    /// For people.
    pub message: String,
    /// When it is over by the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
}

/// Something that cannot be done, for other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockedView {
    /// What it is about.
    #[serde(flatten)]
    pub subject: SubjectView,
    /// Why, where, and what to do.
    pub problem: Problem,
}

impl From<&Subject> for SubjectView {
    fn from(subject: &Subject) -> Self {
        let (kind, project, name) = match subject {
            Subject::Installation => ("Installation", "", ""),
            Subject::Database(key) => ("Database", &*key.project, &*key.name),
            Subject::Application(key) => ("Application", &*key.project, &*key.name),
        };
        Self {
            kind,
            project: project.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl From<&Plan> for PlanView {
    fn from(plan: &Plan) -> Self {
        let steps = plan.steps.iter().map(|step| StepView {
            id: step.id.0,
            needs: step.needs.iter().map(|id| id.0).collect(),
            action: step.action.kind(),
            subject: (&step.action.subject()).into(),
            changes: lines(&step.action)
                .into_iter()
                .map(|line| line.text)
                .collect(),
        });
        let waiting = plan.waiting.iter().map(|waiting| WaitingView {
            reason: waiting.kind(),
            subject: (&waiting.subject()).into(),
            message: waiting.to_string(),
            due: waiting.due(),
        });
        let blocked = plan.blocked.iter().map(|blocked| BlockedView {
            subject: (&blocked.subject).into(),
            problem: blocked.problem.clone(),
        });
        Self {
            version: 1,
            empty: plan.is_empty(),
            steps: steps.collect(),
            waiting: waiting.collect(),
            blocked: blocked.collect(),
            warnings: plan.warnings.clone(),
        }
    }
}
