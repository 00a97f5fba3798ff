use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// Answers every request with these bytes; none: never.
fn answering(dir: &tempfile::TempDir, answer: Option<String>) -> PathBuf {
    let socket = dir.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _length = stream.read(&mut request).await.unwrap();
            match &answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        }
    });
    socket
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn no_socket_and_a_socket_that_a_dead_agent_left_are_no_agent() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("agent.sock");
    let error = ask_status(&socket).await.unwrap_err();
    assert!(matches!(error, AgentError::Absent));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let problem = ask_status(&socket).await.unwrap_err().problem();
    assert_eq!(
        (problem.code.as_str(), problem.message.as_str()),
        ("agent-absent", "no agent runs for this instance")
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_answer_is_silent_not_absent() {
    let dir = tempfile::tempdir().unwrap();
    let socket = answering(&dir, None);
    let problem = ask_status(&socket).await.unwrap_err().problem();
    assert_eq!(problem.code, "agent-silent");
    assert_eq!(problem.message, "the agent did not answer within 2 s");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_agents_words() {
    let dir = tempfile::tempdir().unwrap();
    let told = Problem::new(
        Class::Transient,
        "nothing-assigned",
        "nothing was assigned yet",
    );
    let socket = answering(
        &dir,
        Some(http("409 Conflict", &serde_json::to_string(&told).unwrap())),
    );
    assert_eq!(ask_status(&socket).await.unwrap_err().problem(), told);
}

#[tokio::test]
async fn what_is_not_understood_is_no_status() {
    for (status, body) in [("200 OK", "{}"), ("500 Oops", "not json"), ("200 OK", "")] {
        let dir = tempfile::tempdir().unwrap();
        let socket = answering(&dir, Some(http(status, body)));
        assert_eq!(
            ask_status(&socket).await.unwrap_err().problem().code,
            "agent-answer"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = answering(&dir, Some("this is not HTTP\r\n\r\n".to_owned()));
    let problem = ask_status(&socket).await.unwrap_err().problem();
    assert_eq!(problem.code, "agent-silent");
    assert!(
        problem.to_string().contains("ask the agent on `"),
        "{problem}"
    );
}
