//! What changes, told as it happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use boma_engine::engine::EngineState;
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::failure::Problems;
use super::resources::EventResource;
use crate::access::Session;
use crate::operations::Happened;
use crate::sight::Sight;
use crate::site::Site;

/// Least time between two looks: many changes in quick succession are told together.
const PAUSE: Duration = Duration::from_millis(300);

/// How often a connection on which nothing happens is shown to be alive.
const ALIVE: Duration = Duration::from_secs(15);

/// Events that are told of at most with one change; whoever was away for longer asks for the list.
const MOST: u32 = 500;

/// How far everything is.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    /// Whether all that whoever asks may see was measured to be as the manifests say.
    converged: bool,
    /// Steps that are left to be taken.
    steps: usize,
    /// What is waited for.
    waiting: usize,
    /// What is not done, because of a problem.
    blocked: usize,
}

impl Standing {
    fn of(site: &Site, session: &Session, state: &EngineState) -> Self {
        let snapshot = site.snapshot();
        let plan = Sight::of(&session.who, &snapshot).plan(&state.plan);
        Self {
            converged: state.is_converged(),
            steps: plan.steps.len(),
            waiting: plan.waiting.len(),
            blocked: plan.blocked.len(),
        }
    }
}

/// Who listens, and what they were told.
struct Listener {
    site: Arc<Site>,
    /// What lets them in, asked again before anything is told: a removed token ends what it has opened.
    sent: String,
    state: watch::Receiver<Arc<EngineState>>,
    /// The moment of the newest event that they know.
    known: Timestamp,
    /// What they were told last.
    standing: Option<Standing>,
    left: VecDeque<Event>,
}

impl Listener {
    /// The next thing to tell; none: nothing will come any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.left.pop_front() {
                return Some(event);
            }
            self.state.changed().await.ok()?;
            tokio::time::sleep(PAUSE).await;
            let state = self.state.borrow_and_update().clone();
            // Who there is cannot be read now: nobody is told anything until it can.
            let Ok(session) = self.site.access.session(&self.sent, Timestamp::now()).await else {
                continue;
            };
            self.look(&state, &session?).await;
        }
    }

    async fn look(&mut self, state: &EngineState, session: &Session) {
        // What cannot be read now is told with the next change.
        let events = self.site.events(&session.who, MOST).await;
        for happened in since(events.unwrap_or_default(), self.known) {
            self.known = happened.last;
            let event = Event::default().id(happened.last.to_string());
            let told = event
                .event("event")
                .json_data(EventResource::from(happened));
            self.left.extend(told.ok());
        }
        let standing = Standing::of(&self.site, session, state);
        if self.standing.as_ref() != Some(&standing) {
            let told = Event::default().event("standing").json_data(&standing);
            self.left.extend(told.ok());
            self.standing = Some(standing);
        }
    }
}

/// What happened after a moment, oldest first.
fn since(mut events: Vec<Happened>, known: Timestamp) -> Vec<Happened> {
    events.retain(|one| one.last > known);
    events.sort_by_key(|one| one.last);
    events
}

/// Tells what happens as it happens, by server-sent events: `event`, each with one of the events that are
/// listed at `/api/v1/events`, and `standing`, how far everything is, at the beginning and whenever that has
/// changed. Whoever sends the `Last-Event-ID` that they have heard is told what they have missed.
#[utoipa::path(
    get,
    path = "/api/v1/stream",
    operation_id = "followEvents",
    params(("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was heard: its moment.")),
    responses(
        (status = 200, description = "What happens, without an end.", body = ref("#/components/schemas/Standing"), content_type = "text/event-stream"),
        Problems,
    ),
)]
pub(super) async fn stream(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let heard = headers.get("last-event-id");
    let heard = heard.and_then(|id| id.to_str().ok()?.parse().ok());
    let mut state = site.engine.state();
    state.mark_changed();
    let listener = Listener {
        sent: site.sent(&headers).unwrap_or_default(),
        site,
        state,
        known: heard.unwrap_or_else(Timestamp::now),
        standing: None,
        left: VecDeque::new(),
    };
    Sse::new(told(listener))
        .keep_alive(KeepAlive::new().interval(ALIVE))
        .into_response()
}

fn told(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}
