//! A change of a manifest: judged, then written where its file is.

use std::path::Path;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use boma_engine::plan::{self, Asked, Plan};
use boma_engine::source::{Committed, Onto, Proposal, WriteError};
use boma_manifest::edit::{Change, Step, Written, edit};
use boma_manifest::{Database, Manifest, ResourceName};
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;
use ring::digest::{SHA256, digest};

use crate::access::{Permit, Session};
use crate::failure::Failure;
use crate::people::Role;
use crate::sight::{Sight, projects_of};
use crate::site::Site;
use crate::writing::{ReadOnly, Writer};

/// What a change comes to.
pub(crate) struct Judged {
    /// What is wrong, as far as whoever asks may see it.
    pub(crate) problems: Vec<Problem>,
    /// What would be done; none: the manifests have errors then, and nothing would be.
    pub(crate) plan: Option<Plan>,
}

impl Judged {
    pub(crate) fn of(site: &Site, session: &Session, proposal: &Proposal) -> Self {
        let snapshot = site.snapshot();
        let sight = Sight::of(&session.who, &snapshot);
        let (catalog, all) = proposal.judge(&snapshot, &site.basis);
        let errors = all.iter().filter(|one| one.is_error()).count();
        // What is proposed is seen by whoever proposes it, wherever else they may look, and so is what
        // is wrong with it as a whole.
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|problem| {
            let place = problem.place.as_ref();
            place.is_none_or(|place| *place.file == **proposal.name())
        });
        let mut problems = own;
        problems.extend(sight.problems(others));
        if errors > problems.iter().filter(|one| one.is_error()).count() {
            problems.push(errors_elsewhere());
        }
        if errors > 0 {
            return Self {
                problems,
                plan: None,
            };
        }
        let asked = Asked {
            source: Some(site.source_name.clone()),
            ..Asked::default()
        };
        let (state, mut ids) = (site.state(), site.ids);
        let now = Timestamp::now();
        let plan = plan::plan(&catalog, &state.observed, &asked, now, &mut ids);
        Self {
            problems,
            plan: Some(sight.plan(&plan).into_owned()),
        }
    }
}

/// Manifests of others have errors, which whoever asks may not see.
fn errors_elsewhere() -> Problem {
    let message = "manifests of projects that you may not see have errors";
    Problem::new(Class::User, "errors-elsewhere", message)
        .hint("Nothing is applied before they are mended. Ask whoever runs Boma.")
}

/// That somebody may change a file: they are developers of all that it says and is to say.
pub(crate) fn permit(session: &Session, proposal: &Proposal) -> Result<Permit, Failure> {
    match projects_of(proposal) {
        Some(projects) => session
            .who
            .permit_all(Role::Developer, projects.iter().map(String::as_str)),
        None => session.who.permit(Role::Developer, ""),
    }
}

/// What tells a text from others; of no file, nothing.
pub(crate) fn mark(bytes: Option<&[u8]>) -> String {
    let hash = bytes.map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes)));
    hash.unwrap_or_default()
}

/// How a change is told, where it becomes a commit.
pub(crate) struct Told<'t> {
    /// What the commit says; empty: the file's name.
    pub(crate) about: &'t str,
    /// Whether it goes to a branch of its own, to be reviewed.
    pub(crate) for_review: bool,
}

/// Writes a change, if whoever asks may, and it is none that nobody would apply. Answers when the source
/// was read with it, or where it waits for a review; with the commit, where it is one.
pub(crate) async fn write(
    site: &Site,
    session: &Session,
    proposal: &Proposal,
    told: &Told<'_>,
) -> Result<Option<Committed>, Failure> {
    let proposal = &site.placed(proposal)?;
    let permit = permit(session, proposal)?;
    let judged = Judged::of(site, session, proposal);
    if let Some(error) = judged.problems.into_iter().find(Problem::is_error) {
        return Err(error.into());
    }
    let name = proposal.name().clone();
    let Some((target, own_name)) = site.target(&name) else {
        return Err(Failure::of(&WriteError::Outside(name)));
    };
    let writer = target.writer(&name, own_name);
    let writer = writer.map_err(|read_only| refused(&read_only, proposal))?;
    let own = proposal.clone().called(own_name);
    let committed = match writer {
        Writer::Directory(root) => {
            if told.for_review {
                return Err(Failure::Broken(StatusCode::BAD_REQUEST));
            }
            let root = root.clone();
            let written = tokio::task::spawn_blocking(move || own.write(&root)).await;
            let written = written
                .map_err(|error| Problem::from_error(Class::Internal, "not-written", &error))?;
            written.map_err(|error| Failure::of(&error))?;
            site.operations.wrote(&permit, &name).await?;
            None
        }
        Writer::Repository(repository) => {
            let onto = if told.for_review {
                Onto::Review(branch_of(told.about, Timestamp::now()))
            } else {
                Onto::Branch
            };
            let message = match told.about {
                "" => &name,
                about => about,
            };
            let note = repository.note(&session.who, message);
            let writer = repository.writer.lock().await;
            let written = writer.write(&own, &note, &onto).await;
            let written = written.map_err(|error| Failure::of(&error))?;
            repository.told.notify_one();
            let what = format!("{name}, commit {} on {}", written.commit, written.branch);
            site.operations.wrote(&permit, &what).await?;
            Some(written)
        }
        Writer::Resources(_) if told.for_review => {
            return Err(Failure::Broken(StatusCode::BAD_REQUEST));
        }
        Writer::Resources(resources) => {
            resources.write(proposal, permit.actor()).await?;
            site.operations.wrote(&permit, &name).await?;
            None
        }
    };
    if !told.for_review {
        site.until_read(proposal).await;
    }
    Ok(committed)
}

/// A change that cannot be written, with the place where a person would make it.
fn refused(read_only: &ReadOnly, proposal: &Proposal) -> Failure {
    let problem = read_only.problem();
    match proposal.place() {
        Some(place) => problem.at(place).into(),
        None => problem.into(),
    }
}

/// A copy of a database's manifest under another name, made from the first one's backups as of a
/// moment, which is written as in a manifest; nothing: the newest.
pub(crate) fn restored(
    database: &Database,
    name: &str,
    moment: Vec<(String, Written)>,
) -> Result<Proposal, Failure> {
    let name = ResourceName::new(name).map_err(|error| Failure::from(error.problem()))?;
    let mut copy = database.clone();
    copy.metadata.name = name.clone();
    copy.spec.deletion_protection = Some(false);
    copy.spec.bootstrap = None;
    let text = Manifest::Database(copy).to_yaml();
    let file = Path::new(&*database.origin.file().name).to_owned();
    let file = file.with_file_name(format!("{name}.yaml"));
    let source = Written::Text(database.metadata.name.to_string());
    let from = std::iter::once(("database".to_owned(), source)).chain(moment);
    let from = Written::Fields(from.collect());
    let change = Change::Set(Step::fields(["spec", "bootstrap", "restore"]), from);
    let text = edit(&text, 0, &change).map_err(|error| Failure::of(&error))?;
    Ok(Proposal::new_file(file.to_string_lossy(), text))
}

/// A branch's name, for people: what it is about, and when.
fn branch_of(about: &str, now: Timestamp) -> String {
    let letter = |one: char| {
        if one.is_ascii_alphanumeric() {
            one.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let words: String = about.chars().map(letter).take(40).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("boma/{}-{}", words.join("-"), now.strftime("%Y%m%d%H%M%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_others_are_said_and_not_shown() {
        let problem = errors_elsewhere();
        assert!(problem.is_error());
        let text = problem.to_string();
        assert_eq!(
            text,
            "manifests of projects that you may not see have errors"
        );
    }

    #[test]
    fn a_branch_says_what_it_is_about() {
        let at: Timestamp = "2026-11-22T07:30:00Z".parse().unwrap();
        let name = branch_of("orders: more memory, ../../x", at);
        assert_eq!(name, "boma/orders-more-memory-x-20261122073000");
        assert_eq!(branch_of("", at), "boma/-20261122073000");
    }
}
