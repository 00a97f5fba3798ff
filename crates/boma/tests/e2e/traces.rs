//! Traces: what a collector gets over OTLP, and what happens where none answers.

mod collector;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::dashboard::{PROJECT, is_ready, signed_in};
use crate::git::{Repository, Serving};
use crate::installation::{Installation, wait};
use crate::manifests::{application, database, writes};
use collector::{Collector, Received};

/// What spans may say; nothing else is in any of them.
const ATTRIBUTES: [&str; 13] = [
    "boma.plan.blocked",
    "boma.plan.steps",
    "boma.plan.waiting",
    "boma.resource",
    "boma.step.action",
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "server.address",
    "url.scheme",
    "url.template",
    "vcs.ref.head.name",
];

/// A trace that somebody else has begun, and the span in it that asks.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ASKS: &str = "b7ad6b7169203331";

/// `boma` told to deliver to an address, often.
fn tracing_to(boma: &Installation, address: &str) -> Command {
    let mut command = boma.command();
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=collectors-own")
        .env(
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        )
        .env("OTEL_BSP_SCHEDULE_DELAY", "100");
    command
}

fn serving(boma: &Installation, address: &str, arguments: &[&str]) -> Result<Serving> {
    let log = fs::File::create(boma.path("serve.log"))?;
    let mut command = tracing_to(boma, address);
    command
        .arg("serve")
        .args(arguments)
        .args(["--dashboard", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(log);
    Ok(Serving(command.spawn()?))
}

/// Asks a process to end; answers with how long that took.
fn ended(process: &mut Child) -> Result<Duration> {
    let asked = Instant::now();
    kill(Pid::from_raw(i32::try_from(process.id())?), Signal::SIGTERM)?;
    wait(|| process.try_wait()?.context("it has not ended"))?;
    Ok(asked.elapsed())
}

fn shop() -> Result<Installation> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    boma.write("orders.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    Ok(boma)
}

#[test]
fn requests_rounds_and_steps_are_spans_and_nothing_secret_is_in_them() -> Result<()> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    let repository = Repository::new(&boma)?;
    repository.commit("orders.yaml", &database("orders", ""), "add orders")?;
    let web = application("web", &[writes("orders")], "");
    repository.commit("web.yaml", &web, "let web write")?;
    let source = format!("file://{}", repository.place.display());
    let collector = Collector::answering()?;
    let mut serving = serving(&boma, &collector.address, &[&source, "--poll", "1"])?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let environment = wait(|| boma.boma(["env", "web", "--reveal"])?.ok())?;
    let mut asking = browser.with("traceparent", &format!("00-{TRACE}-{ASKS}-01"));
    ensure!(asking.get(&format!("/databases/{PROJECT}/orders"))?.status == 200);
    ensure!(asking.get(&format!("/databases/{PROJECT}/nothing"))?.status == 404);
    asking.get("/healthz")?;
    let took = ended(&mut serving.0)?;
    ensure!(took < Duration::from_secs(20), "it took {took:?} to end");

    let received = collector.received();
    is_of_boma(&received)?;
    continues_the_trace(&received)?;
    has_rounds(&received)?;
    has_git(&received)?;
    for body in &received.bodies {
        boma.has_told(body)?;
    }
    says_nothing_secret(&received, &environment)
}

/// Every delivery says whose it is, and has what the operator sends along.
fn is_of_boma(received: &Received) -> Result<()> {
    ensure!(!received.spans.is_empty(), "nothing was received");
    for resource in &received.resources {
        for (key, value) in [
            ("service.name", "boma"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("deployment.environment.name", "test"),
            ("telemetry.sdk.language", "rust"),
        ] {
            let is = resource.get(key).map(String::as_str);
            ensure!(is == Some(value), "{key}: {resource:?}");
        }
    }
    for head in &received.heads {
        let head = head.to_ascii_lowercase();
        for part in [
            "post /v1/traces ",
            "\r\nx-api-key: collectors-own\r\n",
            "\r\ncontent-type: application/x-protobuf\r\n",
        ] {
            ensure!(head.contains(part), "{part:?}: {head}");
        }
    }
    Ok(())
}

fn continues_the_trace(received: &Received) -> Result<()> {
    let theirs: Vec<_> = received
        .spans
        .iter()
        .filter(|span| span.parent == ASKS)
        .collect();
    // What probes ask for is no span.
    ensure!(theirs.len() == 2, "{theirs:?}");
    for (span, status) in theirs.iter().zip(["200", "404"]) {
        ensure!(span.trace == TRACE, "{span:?}");
        ensure!(span.name == "GET /databases/{*key}", "{span:?}");
        ensure!(span.kind == "SPAN_KIND_SERVER" && !span.failed, "{span:?}");
        span.has(&[
            ("http.request.method", "GET"),
            ("http.route", "/databases/{*key}"),
            ("http.response.status_code", status),
            ("url.scheme", "http"),
        ])?;
    }
    Ok(())
}

fn has_rounds(received: &Received) -> Result<()> {
    let mut acting = BTreeSet::new();
    for span in received.spans.iter().filter(|span| span.name == "round") {
        ensure!(span.parent.is_empty(), "{span:?}");
        ensure!(received.child(&span.id, "observe").is_some(), "{span:?}");
        let plan = received.child(&span.id, "plan").context("no plan")?;
        ensure!(plan.attributes.contains_key("boma.plan.steps"), "{plan:?}");
        let steps = received.spans.iter().filter(|one| one.parent == span.id);
        for step in steps.filter(|one| one.name.starts_with("step ")) {
            ensure!(step.trace == span.trace, "{step:?}");
            let action = step.attributes.get("boma.step.action");
            let action = action.context("no action")?;
            ensure!(step.name == format!("step {action}"), "{step:?}");
            acting.insert(action.clone());
        }
    }
    for action in ["put-instance", "issue-credential", "deliver-environment"] {
        ensure!(acting.contains(action), "{action}: {acting:?}");
    }
    let put = received.named("step put-instance")?;
    let resource = put.attributes.get("boma.resource").context("a resource")?;
    ensure!(resource.contains(&format!("{PROJECT}/orders")), "{put:?}");
    let put = received.spans.iter().filter(|span| span.name == put.name);
    let mut handed = put.filter_map(|step| received.child(&step.id, "PUT /v1/assignment"));
    let handed = handed.next().context("nothing was handed to an agent")?;
    ensure!(handed.kind == "SPAN_KIND_CLIENT", "{handed:?}");
    handed.has(&[
        ("http.request.method", "PUT"),
        ("url.template", "/v1/assignment"),
        ("http.response.status_code", "200"),
    ])
}

fn has_git(received: &Received) -> Result<()> {
    let fetch = received.named("git fetch")?;
    fetch.has(&[("vcs.ref.head.name", "main")])?;
    ensure!(
        fetch.kind == "SPAN_KIND_CLIENT" && fetch.parent.is_empty(),
        "{fetch:?}"
    );
    Ok(())
}

fn says_nothing_secret(received: &Received, environment: &str) -> Result<()> {
    let (_, url) = environment.split_once("DATABASE_URL=").context("an URL")?;
    let password = url
        .split("://")
        .nth(1)
        .and_then(|rest| rest.split('@').next());
    let password = password
        .and_then(|user| user.split_once(':'))
        .context("a password")?
        .1;
    ensure!(password.len() > 10, "this is no password");
    for body in &received.bodies {
        ensure!(
            !String::from_utf8_lossy(body).contains(password),
            "the password was sent"
        );
    }
    for span in &received.spans {
        for (key, value) in &span.attributes {
            ensure!(ATTRIBUTES.contains(&&**key), "{key} in {span:?}");
            ensure!(!value.contains("://"), "{key} in {span:?}");
        }
        ensure!(span.events == 0 && span.message.is_empty(), "{span:?}");
    }
    Ok(())
}

#[test]
fn what_goes_wrong_is_told_by_its_code() -> Result<()> {
    let boma = shop()?;
    let collector = Collector::answering()?;
    let missing = boma.path("no-such-repository");
    let source = format!("file://{}", missing.display());
    let mut serving = serving(&boma, &collector.address, &[&source, "--poll", "1"])?;
    wait(|| collector.received().named("git fetch").map(drop))?;
    ended(&mut serving.0)?;
    let received = collector.received();
    let fetch = received.named("git fetch")?;
    ensure!(fetch.failed, "{fetch:?}");
    let code = fetch.attributes.get("error.type").context("a code")?;
    ensure!(code.starts_with("git-"), "{fetch:?}");
    for body in &received.bodies {
        ensure!(
            !String::from_utf8_lossy(body).contains("no-such-repository"),
            "{fetch:?}"
        );
    }
    Ok(())
}

#[test]
fn a_command_that_ends_delivers_before_it_does() -> Result<()> {
    let boma = shop()?;
    let collector = Collector::answering()?;
    let apply = |disabled: &str| -> Result<()> {
        let mut command = tracing_to(&boma, &collector.address);
        // Nothing goes by itself before the end.
        let output = command
            .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
            .env("OTEL_SDK_DISABLED", disabled)
            .args(["apply", "m"])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && !said.contains("span"), "{said}");
        Ok(())
    };
    apply("true")?;
    ensure!(collector.received().heads.is_empty(), "it was disabled");
    apply("")?;
    let received = collector.received();
    received.named("round")?;
    received.named("observe")?;
    Ok(())
}

#[test]
fn a_collector_that_does_not_answer_holds_nothing_up() -> Result<()> {
    let silent = Collector::silent()?;
    let absent = "http://ann:collectors-password@127.0.0.1:1";
    for (address, said) in [(absent, 1), (&*silent.address, 0)] {
        let boma = shop()?;
        let mut serving = serving(&boma, address, &["m"])?;
        let mut browser = signed_in(&boma)?;
        is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
        boma.sql("web", "select 1")?.ok()?;
        let log = || fs::read_to_string(boma.path("serve.log"));
        let times = |log: &str| log.matches("spans do not reach their collector").count();
        if said > 0 {
            wait(|| {
                ensure!(times(&log()?) > 0, "nothing is said of the collector");
                Ok(())
            })?;
        }
        for _ in 0..50 {
            ensure!(browser.get("/plan")?.status == 200);
        }
        let took = ended(&mut serving.0)?;
        ensure!(took < Duration::from_secs(15), "it took {took:?} to end");
        let log = log()?;
        ensure!(times(&log) == said, "{log}");
        ensure!(!log.contains("collectors-password"), "{log}");
    }
    Ok(())
}

#[test]
fn settings_that_cannot_be_used_are_said_and_nothing_else_changes() -> Result<()> {
    let boma = shop()?;
    for (variable, value, part) in [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "only `http/protobuf` is spoken",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://a b:hunter2@c",
            "the collector's address",
        ),
    ] {
        let mut command = tracing_to(&boma, "http://127.0.0.1:1");
        let output = command.env(variable, value).args(["apply", "m"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && said.contains(part), "{said}");
        ensure!(!said.contains("hunter2"), "{said}");
    }
    Ok(())
}
