//! The end of the server's log: on one machine its file is at hand, in a pod only here.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// How much of it is told: thousands of lines.
const END: u64 = 1 << 20;

/// Answers with the last lines, whole ones; `null`: there is no log yet.
pub(super) async fn log(
    State(path): State<PathBuf>,
) -> Result<Json<Option<String>>, (StatusCode, String)> {
    let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    let read = tokio::task::spawn_blocking(move || end_of(&path)).await;
    let read = read.map_err(|error| failed(error.to_string()))?;
    match read {
        Ok(text) => Ok(Json(Some(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Json(None)),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(END);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    let text = String::from_utf8_lossy(&end).into_owned();
    Ok(match text.split_once('\n') {
        Some((_part, whole)) if from > 0 => whole.to_owned(),
        Some(_) | None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_begins_with_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("postgresql.log");
        let Json(none) = log(State(path.clone())).await.unwrap();
        assert_eq!(none, None);
        std::fs::write(&path, "LOG:  ready\n").unwrap();
        let Json(all) = log(State(path.clone())).await.unwrap();
        assert_eq!(all.as_deref(), Some("LOG:  ready\n"));
        let long = format!("{}\nlast\n", "x".repeat(1 << 20));
        std::fs::write(&path, long).unwrap();
        let Json(end) = log(State(path)).await.unwrap();
        assert_eq!(end.as_deref(), Some("last\n"));
    }
}
