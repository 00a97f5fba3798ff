//! `boma serve --webhook`: a real push to a real repository is in force as soon as it was told of.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ring::hmac;

use crate::git::{Repository, Serving, log_has};
use crate::installation::{Installation, wait};
use crate::manifests::application;

/// A secret that nobody else has.
fn secret() -> Result<String> {
    let mut bytes = [0_u8; 24];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Serves a repository that is pushed to; asks it for news once a day.
fn serve(boma: &Installation, remote: &str, secret: &str) -> Result<(Serving, String)> {
    let file = boma.path("webhook");
    fs::write(&file, format!("{secret}\n"))?;
    let log = fs::File::create(boma.path("serve.log"))?;
    let mut command = boma.command();
    command
        .args(["-v", "serve", remote, "--poll", "86400"])
        .args(["--webhook=127.0.0.1:0", "--webhook-secret"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(log);
    let serving = Serving(command.spawn()?);
    let address = wait(|| {
        let log = fs::read_to_string(boma.path("serve.log"))?;
        let told = log.split_once("Pushes are told at http://");
        let address = told.and_then(|(_, rest)| rest.split_once("/hooks/git."));
        Ok(address.context(log.clone())?.0.to_owned())
    })?;
    Ok((serving, address))
}

/// Sends bytes; answers with the status and the text that came back.
fn send(address: &str, head: &str, body: &[u8]) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let head = format!(
        "{head}host: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // Whoever refuses what is too large does not read it to its end.
    let _refused = stream.write_all(body);
    let mut answer = Vec::new();
    let _cut_off = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).context(answer.clone())?.parse()?;
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, text)| text);
    Ok((status, text.trim().to_owned()))
}

fn post(address: &str, headers: &str, body: &[u8]) -> Result<(u16, String)> {
    send(
        address,
        &format!("POST /hooks/git HTTP/1.1\r\n{headers}"),
        body,
    )
}

fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    hex(tag.as_ref())
}

#[test]
fn a_push_is_in_force_as_soon_as_it_was_told_of() -> Result<()> {
    let boma = Installation::new()?;
    let repository = Repository::new(&boma)?;
    let remote = boma.path("remote.git").display().to_string();
    repository.git(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        &remote,
    ])?;
    repository.git(&["remote", "add", "origin", &remote])?;
    let push = |subject: &str| -> Result<String> {
        let env = format!("env: {{SAYS: {subject}}}");
        let commit = repository.commit("web.yaml", &application("web", &[], &env), subject)?;
        repository.git(&["push", "--quiet", "origin", "main"])?;
        Ok(commit)
    };
    let first = push("first")?;
    let secret = secret()?;
    let (serving, address) = serve(&boma, &format!("file://{remote}"), &secret)?;
    log_has(&boma, &format!("Commit {first} is in force"))?;

    let second = push("second")?;
    let body = format!("{{\"after\":\"{second}\",\"marker\":\"never-in-a-log\"}}").into_bytes();
    let wrong = signature("another secret", &body);
    let headers = format!("x-github-event: push\r\nx-hub-signature-256: sha256={wrong}\r\n");
    let refused = (401, "The signature is not right.".to_owned());
    ensure!(post(&address, &headers, &body)? == refused);
    ensure!(post(&address, "x-github-event: push\r\n", &body)? == refused);
    let right = signature(&secret, &body);
    let headers = format!("x-github-event: push\r\nx-hub-signature-256: sha256={right}\r\n");
    ensure!(post(&address, &headers, &body)?.0 == 202);
    log_has(&boma, &format!("Commit {second} is in force"))?;
    ensure!(post(&address, &headers, &body)? == (409, "This delivery came before.".to_owned()));

    let third = push("third")?;
    let headers = format!("x-gitlab-event: Push Hook\r\nx-gitlab-token: {secret}\r\n");
    ensure!(post(&address, &headers, b"{}")?.0 == 202);
    log_has(&boma, &format!("Commit {third} is in force"))?;
    let fourth = push("fourth")?;
    let right = signature(&secret, b"{\"4\":4}");
    let headers = format!("x-gitea-event: push\r\nx-gitea-signature: {right}\r\n");
    ensure!(post(&address, &headers, b"{\"4\":4}")?.0 == 202);
    log_has(&boma, &format!("Commit {fourth} is in force"))?;

    // What is no delivery at all.
    ensure!(send(&address, "GET /hooks/git HTTP/1.1\r\n", b"")?.0 == 405);
    ensure!(send(&address, "POST /metrics HTTP/1.1\r\n", b"")?.0 == 404);
    // Cut off before it was read, the sender may not get to see the answer.
    let large = post(&address, "", &vec![b'x'; (4 << 20) + 1]);
    ensure!(
        large.as_ref().map_or(true, |(status, _)| *status == 413),
        "{large:?}"
    );
    let many = (0..60).map(|_| post(&address, "", b"").map(|(status, _)| status));
    let many = many.collect::<Result<Vec<u16>>>()?;
    ensure!(
        many.iter().all(|status| [401, 429].contains(status)),
        "{many:?}"
    );
    drop(serving);
    let log = fs::read_to_string(boma.path("serve.log"))?;
    ensure!(
        log.contains("a delivery to the webhook was refused"),
        "{log}"
    );
    ensure!(
        !log.contains(&secret) && !log.contains("never-in-a-log"),
        "{log}"
    );
    Ok(())
}

#[test]
fn a_webhook_that_cannot_be_is_refused_at_once() -> Result<()> {
    let boma = Installation::new()?;
    let remote = "file:///nowhere";
    let with = |source: &str, more: &[&str]| -> Result<String> {
        let arguments = [&["serve", source, "--webhook=127.0.0.1:0"], more].concat();
        boma.boma(arguments)?.code(1)
    };
    let file = boma.path("webhook").display().to_string();
    let said = with(remote, &["--webhook-secret", &file])?;
    ensure!(
        said.contains("error[webhook-secret-unreadable]: read the secret of the webhook"),
        "{said}"
    );
    fs::write(&file, "too short")?;
    let said = with(remote, &["--webhook-secret", &file])?;
    ensure!(
        said.contains("warning[webhook-secret-open]: everybody may read the secret"),
        "{said}"
    );
    ensure!(said.contains("error[webhook-secret-short]"), "{said}");
    fs::write(&file, secret()?)?;
    let said = with("m", &["--webhook-secret", &file])?;
    ensure!(
        said.contains("error[webhook-without-repository]: a directory is served"),
        "{said}"
    );
    let there = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = format!("--webhook={}", there.local_addr()?);
    let arguments = ["serve", remote, &taken, "--webhook-secret", &file];
    let said = boma.boma(arguments)?.code(1)?;
    ensure!(
        said.contains("error[webhook-not-open]: listen for pushes on 127.0.0.1:"),
        "{said}"
    );
    drop(there);
    boma.boma(["serve", remote, "--webhook"])?.code(2)?;
    Ok(())
}
