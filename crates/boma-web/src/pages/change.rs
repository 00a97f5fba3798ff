//! A change of a manifest: shown with what it would do, then written.
//!
//! ```text
//!   form ─► Proposal ─► page: difference, plan, problems ─► the same text and what it was made of
//!                                                              └─► judged again, written, shown
//! ```
//!
//! Nothing is kept between the two on the server. The second request carries the whole text, and a
//! digest of the file that it was made of: of two people who change one file, the second is told.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use boma_engine::source::{Committed, Proposal, Snapshot, WriteError};
use boma_manifest::SourceFile;
use maud::{Markup, html};

use super::layout::{Place, page, secret};
use super::parts::{difference, plan_text, problems};
use crate::access::Session;
use crate::change::{self, Judged, Told, mark, permit};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::site::Site;
use crate::writing::{ReadOnly, Repository, Target, Writer, Writing};

/// What a person is asked to agree to.
pub(crate) struct Question<'q> {
    /// What is changed, for the page's title.
    pub(crate) title: &'q str,
    /// What the button says.
    pub(crate) yes: &'q str,
    /// Where to go afterwards, or when it is not wanted.
    pub(crate) back: &'q str,
    /// What a commit of it says.
    pub(crate) about: &'q str,
}

/// Shows what a change would write and do, to somebody who may have it done.
pub(crate) fn ask(
    site: &Site,
    session: &Session,
    proposal: &Proposal,
    question: &Question<'_>,
) -> Result<Markup, Failure> {
    let proposal = &site.placed(proposal)?;
    permit(session, proposal)?;
    let judged = Judged::of(site, session, proposal);
    let content = html! {
        h1 { (question.title) }
        @if proposal.is_empty() {
            p { "Nothing changes: the manifest says so already." }
        } @else {
            @if proposal.is_removal() {
                h2 { "The file " code { (proposal.name()) } " goes" }
            } @else {
                h2 { "What is written to " code { (proposal.name()) } }
            }
            (difference(proposal))
        }
        (problems(&judged.problems))
        @if let Some(plan) = &judged.plan {
            h2 { "What is done then" }
            (plan_text(plan))
        }
        (decision(site, session, (proposal, &judged), question))
    };
    Ok(page(site, session, (question.title, Place::New), &content))
}

fn decision(
    site: &Site,
    session: &Session,
    (proposal, judged): (&Proposal, &Judged),
    question: &Question<'_>,
) -> Markup {
    let back = html! { a class="button" href=(question.back) { "Back" } };
    if proposal.is_empty() || judged.plan.is_none() {
        return html! { p class="actions" { (back) } };
    }
    if let Some(read_only) = site.read_only(proposal.name()) {
        return html! {
            (by_hand(&read_only, proposal))
            p class="actions" { (back) }
        };
    }
    html! {
        form method="post" action="/changes" {
            (secret(session))
            input type="hidden" name="file" value=(proposal.name());
            input type="hidden" name="former" value=(mark(proposal.former()));
            input type="hidden" name="text" value=(proposal.text());
            input type="hidden" name="back" value=(question.back);
            @if let Some((Target { writing: Writing::Into(Writer::Repository(repository)), .. }, _)) = site.target(proposal.name()) {
                (commit(repository, session, question))
            }
            p class="actions" { button class="primary" { (question.yes) } (back) }
        }
    }
}

/// What is left to a person, where the source is only read.
fn by_hand(read_only: &ReadOnly, proposal: &Proposal) -> Markup {
    html! {
        h2 { "To be written by hand" }
        p { (sentence(read_only)) }
        p {
            "Make this change where the source is kept"
            @if let Some(place) = proposal.place() { ", in " code { (place.file) ":" (place.line) } }
            ". Boma reads it again by itself."
        }
    }
}

/// That a source is only read, and why.
pub(crate) fn sentence(read_only: &ReadOnly) -> Markup {
    html! { "This source may not be written from here: " (read_only.why) "." }
}

/// What is asked about a commit.
fn commit(repository: &Repository, session: &Session, question: &Question<'_>) -> Markup {
    html! {
        fieldset {
            legend { "Commit by " (repository.author(&session.who).0) }
            label for="about" { "Message" }
            input id="about" name="about" required value=(question.about);
            label { input type="radio" name="onto" value="branch" checked; "To " code { (repository.branch) } ": it is applied" }
            label { input type="radio" name="onto" value="review"; "To a new branch, for review" }
        }
    }
}

/// Line ends as the file has them: a browser sends its own.
fn with_ends_of(former: &[u8], text: &str) -> String {
    let plain = text.replace("\r\n", "\n");
    if former.windows(2).any(|two| two == b"\r\n") {
        plain.replace('\n', "\r\n")
    } else {
        plain
    }
}

/// The text of a form for a file: that of the source, if it still is the one that the form was made of.
fn proposed(snapshot: &Snapshot, fields: &Fields) -> Result<Proposal, Failure> {
    let (name, former) = (fields.get("file"), fields.get("former"));
    let text = |former: &[u8]| with_ends_of(former, fields.raw("text"));
    let found = snapshot.files.iter();
    let mut found = found.filter(|file| *file.source.name == *name);
    match found.next() {
        None if former.is_empty() => Ok(Proposal::new_file(name, text(b""))),
        Some(file) if mark(Some(&file.source.bytes)) == former => {
            let source: &SourceFile = &file.source;
            Ok(Proposal::replacing(source.clone(), text(&source.bytes)))
        }
        Some(_) | None => Err(Failure::of(&WriteError::Changed(name.into()))),
    }
}

/// Shows what another text of a manifest's file would do.
pub(crate) async fn edit(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let proposal = proposed(&site.snapshot(), &fields)?;
    let question = Question {
        title: "Change the manifest",
        yes: "Write it",
        back: way_back(&fields),
        about: &format!("Change {}", proposal.name()),
    };
    ask(&site, &session, &proposal, &question)
}

/// Writes what was shown.
pub(crate) async fn write(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Response, Failure> {
    let proposal = proposed(&site.snapshot(), &fields)?;
    let back = way_back(&fields);
    let told = Told {
        about: fields.get("about"),
        for_review: fields.get("onto") == "review",
    };
    let committed = change::write(&site, &session, &proposal, &told).await?;
    Ok(match committed.filter(|_| told.for_review) {
        Some(written) => for_review(&site, &session, &written, back).into_response(),
        None => Redirect::to(back).into_response(),
    })
}

/// Says where a change waits.
fn for_review(site: &Site, session: &Session, written: &Committed, back: &str) -> Markup {
    let content = html! {
        h1 { "It waits for a review" }
        p {
            "Commit " code { (written.commit) } " is on branch " code { (written.branch) }
            ". Open a pull request or merge request for it: nothing is changed before it is merged."
        }
        p class="actions" { a class="button" href=(back) { "Back" } }
    };
    page(site, session, ("For review", Place::New), &content)
}

/// A path of this server, whatever the form says.
fn way_back(fields: &Fields) -> &str {
    let back = fields.get("back");
    let is_path = back.starts_with('/') && !back.starts_with("//") && !back.contains('\\');
    if is_path { back } else { "/" }
}

/// A manifest as it is written, to be changed by hand.
pub(crate) fn editor(session: &Session, file: &SourceFile, back: &str) -> Markup {
    let text = String::from_utf8_lossy(&file.bytes);
    let rows = text.lines().count().clamp(8, 40);
    html! {
        details {
            summary { "Change the file" }
            form method="post" action="/edit" {
                (secret(session))
                input type="hidden" name="file" value=(file.name);
                input type="hidden" name="former" value=(mark(Some(&file.bytes)));
                input type="hidden" name="back" value=(back);
                label for="text" { "What " code { (file.name) } " says" }
                textarea id="text" name="text" rows=(rows) spellcheck="false" { "\n" (text) }
                p class="actions" { button { "See what that would do" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_on_this_server() {
        for (sent, back) in [
            ("/databases/a", "/databases/a"),
            ("", "/"),
            ("//elsewhere", "/"),
            ("https://elsewhere", "/"),
            ("/\\elsewhere", "/"),
        ] {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("back", sent)
                .finish();
            assert_eq!(way_back(&Fields::of_query(&query)), back, "{sent}");
        }
    }

    #[test]
    fn line_ends_stay_as_the_file_has_them() {
        let sent = "a: 1\r\nb: 2\r\n";
        assert_eq!(with_ends_of(b"", sent), "a: 1\nb: 2\n");
        assert_eq!(with_ends_of(b"a: 0\n", sent), "a: 1\nb: 2\n");
        assert_eq!(with_ends_of(b"a: 0\r\n", sent), sent);
    }
}
