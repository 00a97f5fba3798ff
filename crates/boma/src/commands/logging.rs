//! Logs of the program itself: to standard error, or to the log file that standard error is. And the
//! spans of its traces, which are collected in the same place and are no logs.

use boma_engine::spans;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::cli::{Global, LogFormat};
use crate::traces::Traces;

/// Starts logging: warnings, or more with `-v`; `BOMA_LOG` says it precisely. Spans go to `traces`.
pub(crate) fn start(global: &Global, ansi: bool, traces: Option<&Traces>) {
    let told = EnvFilter::new(told(global.verbose));
    let filter = EnvFilter::try_from_env("BOMA_LOG").unwrap_or(told);
    let log = fmt::layer().with_ansi(ansi).with_writer(std::io::stderr);
    let log = match global.log_format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    // A second start, in tests, leaves the first one in place.
    let _already_started = tracing_subscriber::registry()
        .with(log.with_filter(without_spans(filter)))
        .with(traces.map(Traces::layer))
        .try_init();
}

/// What is logged. A request that the API server refuses is told of by whoever made it, with what to
/// do, and may be none that anybody needs to hear of; so the library is asked only by those who look
/// for a defect.
fn told(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn,kube_client=off",
        1 => "info,kube_client=off",
        2 => "debug",
        _ => "trace",
    }
}

/// Lines of the log are as they are without traces.
fn without_spans(filter: EnvFilter) -> EnvFilter {
    let none: Result<Directive, _> = format!("{}=off", spans::TARGET).parse();
    match none {
        Ok(none) => filter.add_directive(none),
        Err(_malformed) => filter,
    }
}
