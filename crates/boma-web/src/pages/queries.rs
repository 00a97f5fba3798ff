//! What a database spends its time with.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use boma_engine::keys::DatabaseKey;
use boma_instance::statements::{EXTENSION, Statement, Statements};
use maud::{Markup, html};

use super::database::known;
use super::layout::{Place, page};
use super::parts::{database_path, moment, problem_card};
use crate::access::Session;
use crate::failure::Failure;
use crate::site::Site;
use crate::world::World;

/// Shows the statements of a database that took longest. They are asked for once, not again while the
/// page is open: reading them costs the server something.
pub(crate) async fn queries(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = known(&world, &key)?;
    let seen = site.insight.statements(&key).await;
    let content = html! {
        p class="crumbs" { a href="/" { "Overview" } " › " (key.project) " › " a href=(database_path(&key)) { (key.name) } }
        h1 { "Slow queries of " (key.name) }
        section class="card" aria-label="Queries" {
            @match seen {
                Ok(Statements::Counted { since, all_ms, top }) => {
                    @if let Some(since) = since { p { "Counted since " (moment(since)) ", those first that took longest together." } }
                    (table(&top, all_ms))
                }
                Ok(Statements::NotCounted) => (how_to_count(&key)),
                Err(problem) => (problem_card(&problem)),
            }
        }
    };
    let title = format!("Slow queries of {}", key.name);
    Ok(page(&site, &session, (&title, Place::Overview), &content))
}

fn how_to_count(key: &DatabaseKey) -> Markup {
    html! {
        p { "Nobody counts the queries of " (key.name) ". To have them counted, name the extension in its manifest:" }
        pre tabindex="0" { code { "spec:\n  extensions: [" (EXTENSION) "]" } }
        p { "The server is restarted once for it, which the plan of the change says." }
        p { a href={ (database_path(key)) "#manifest" } { "Change the manifest" } }
    }
}

fn table(top: &[Statement], all_ms: f64) -> Markup {
    if top.is_empty() {
        return html! { p class="muted" { "There was no query yet." } };
    }
    html! {
        div class="wide" tabindex="0" role="region" aria-label="The slowest queries" {
            table class="queries" {
                thead { tr {
                    th scope="col" { "Query" }
                    th scope="col" { "Time together" }
                    th scope="col" { "Each" }
                    th scope="col" { "Calls" }
                    th scope="col" { "Rows" }
                    th scope="col" { "By" }
                } }
                tbody {
                    @for one in top {
                        tr {
                            td { code { (one.text) } }
                            td { (duration(one.total_ms)) " " span class="muted" { "(" (share(one.total_ms, all_ms)) ")" } }
                            td { (duration(one.mean_ms)) }
                            td { (one.calls) }
                            td { (one.rows) }
                            td { (one.role) }
                        }
                    }
                }
            }
        }
    }
}

/// Milliseconds with as many digits as matter.
fn duration(milliseconds: f64) -> String {
    let seconds = milliseconds / 1000.0;
    match milliseconds {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{seconds:.1} s"),
        _ if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3600.0),
    }
}

fn share(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "0 %".to_owned();
    }
    format!("{:.0} %", part / whole * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_digits_that_matter() {
        for (milliseconds, words) in [
            (0.0123, "0.01 ms"),
            (9.99, "9.99 ms"),
            (12.3, "12 ms"),
            (1234.0, "1.2 s"),
            (119_000.0, "119.0 s"),
            (600_000.0, "10 min"),
            (86_400_000.0, "24 h"),
        ] {
            assert_eq!(duration(milliseconds), words);
        }
        assert_eq!(share(1.0, 3.0), "33 %");
        assert_eq!(share(0.0, 0.0), "0 %");
    }

    #[test]
    fn a_query_is_text_whatever_is_in_it() {
        let one = Statement {
            text: "SELECT \"<script>\" FROM t".to_owned(),
            role: "a&b".to_owned(),
            calls: 3,
            rows: 4,
            total_ms: 30.0,
            mean_ms: 10.0,
        };
        let page = table(&[one], 60.0).into_string();
        assert!(
            page.contains("&lt;script&gt;") && page.contains("a&amp;b"),
            "{page}"
        );
        assert!(page.contains("50 %") && !page.contains("<script"), "{page}");
        assert!(table(&[], 0.0).into_string().contains("no query yet"));
    }
}
