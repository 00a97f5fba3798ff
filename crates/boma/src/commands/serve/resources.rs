//! Custom resources, read whenever the API server tells of a change.

use std::sync::Arc;
use std::time::Duration;

use boma_engine::source::ResourceSource;
use boma_kubernetes::CustomResources;
use boma_problem::Problem;

use super::source::Loaded;

/// `kubectl apply` of a directory makes many changes; what comes within this is one.
const SETTLE: Duration = Duration::from_millis(20);

/// Reads them, now and whenever one changes.
pub(super) async fn follow((resources, label): (CustomResources, String), loaded: Loaded) {
    let mut source = ResourceSource::labelled(&label);
    let mut news = resources.news();
    let mut told: Option<Vec<Problem>> = None;
    loop {
        news.borrow_and_update();
        let held = resources.read();
        let mut snapshot = source.read(held.resources, held.held_back);
        snapshot.problems = held.problems;
        let problems = snapshot.problems.iter().chain(&snapshot.held_back);
        let problems: Vec<Problem> = problems.cloned().collect();
        // A status is written by this very program, and is no change of a manifest.
        if snapshot.changes > 0 || told.as_ref() != Some(&problems) {
            told = Some(problems);
            loaded.send_replace(Some(Arc::new(snapshot)));
        }
        if news.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}
