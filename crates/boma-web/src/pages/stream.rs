//! Says that something changed; what, the page that is open asks for itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;

use crate::site::Site;

/// Least time between two: a page is not read faster.
const PAUSE: Duration = Duration::from_millis(300);

/// How often a connection on which nothing happens is shown to be alive.
const ALIVE: Duration = Duration::from_secs(15);

/// Sends `changed` for each change of what the engine knows, and once at the beginning: what a page shows
/// may be from before.
pub(crate) async fn stream(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let mut state = site.engine.state();
    state.mark_changed();
    let changes = stream::unfold(state, async |mut state| {
        state.changed().await.ok()?;
        tokio::time::sleep(PAUSE).await;
        drop(state.borrow_and_update());
        let event = Event::default().event("changed").data("now");
        Some((Ok::<_, Infallible>(event), state))
    });
    Sse::new(changes).keep_alive(KeepAlive::new().interval(ALIVE))
}
