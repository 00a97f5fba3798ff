//! What a merge would do, from the manifests of two commits alone: for whoever reviews them.
//!
//! ```text
//!   manifests of the base ─► Catalog ─► plan ─► its outcome, as if it had been observed ─┐
//!                                                                                        ├─► plan
//!   manifests of the merge ─► Catalog ───────────────────────────────────────────────────┘
//! ```
//!
//! There is one planner, and it is asked twice; no platform is. What only a platform knows (what runs,
//! what was restored, which passwords are due) is taken to be as the base's manifests say.

mod markdown;
mod view;
mod world;

use std::fmt;

use boma_problem::Problem;

pub use markdown::{LONGEST, markdown};
pub use view::{CommitView, DangerView, ReviewView};
pub use world::compare;

use crate::plan::{Danger, Plan};
use crate::source::Revision;

/// What a person is told before a merge.
#[derive(Clone, Debug)]
pub struct Review {
    /// The commit that is merged into; none: what runs.
    pub base: Option<Revision>,
    /// The commit that is merged; none: files as they are.
    pub head: Option<Revision>,
    /// Errors and warnings of the manifests as they will be.
    pub problems: Vec<Problem>,
    /// What is to be done on what runs as long as nothing is merged; none: it was not looked at, or
    /// nothing is known of the base.
    pub standing: Option<Box<Plan>>,
    /// What the merge would do: on what runs if that was looked at, or else on what the base says.
    pub verdict: Verdict,
}

/// What a merge would do.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing: its manifests have errors, and what runs stays as it is.
    Invalid,
    /// The base has errors of its own, these, so there is nothing to compare with.
    Unknown(Vec<Problem>),
    /// This.
    Planned {
        /// What is done.
        plan: Box<Plan>,
        /// What of it is to be looked at, the gravest first.
        dangers: Vec<Danger>,
    },
}

impl From<Plan> for Verdict {
    fn from(plan: Plan) -> Self {
        let dangers = plan.dangers();
        let plan = Box::new(plan);
        Self::Planned { plan, dangers }
    }
}

/// A review for people at a terminal. The problems of the manifests are not repeated in it.
impl fmt::Display for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Invalid => writeln!(f, "The manifests have errors: nothing would be changed."),
            Verdict::Unknown(problems) => writeln!(f, "{}", unknown(problems.len())),
            Verdict::Planned { plan, dangers } => {
                write!(f, "{plan}")?;
                if !dangers.is_empty() {
                    writeln!(f, "\nLook at this before it is merged:")?;
                }
                for danger in dangers {
                    let (kind, subject) = (danger.kind.name(), &danger.subject);
                    writeln!(f, "  {kind}: {subject}: {}", danger.text)?;
                }
                match self.standing.as_deref().filter(|plan| !plan.is_empty()) {
                    Some(plan) => write!(f, "\n{STANDING}\n{plan}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What a plan without the merge is introduced by.
const STANDING: &str = "What runs is not as the base says. Without the merge, this would be done:";

/// Why nothing is known.
fn unknown(errors: usize) -> String {
    let errors = match errors {
        1 => "an error".to_owned(),
        many => format!("{many} errors"),
    };
    format!(
        "The manifests of the base have {errors}, so it is not known what the merge would do. It is \
         applied as a whole, once it is merged."
    )
}

/// Lets places start from the top of the repository, where they started from a directory in it.
pub fn place_below(directory: &str, problems: &mut [Problem]) {
    if directory.is_empty() {
        return;
    }
    for problem in problems {
        let related = problem.related.iter_mut().map(|(_, place)| place);
        for place in problem.place.iter_mut().chain(related) {
            place.file = format!("{directory}/{}", place.file);
        }
    }
}
