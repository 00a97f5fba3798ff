//! Traces: spans are handed to a collector over OTLP, where the environment names one.
//!
//! ```text
//!   boma_engine::spans ─► queue, 2048 spans ─► a thread of its own ─► collector
//!                            │ full: dropped        │ fails: one warning, dropped
//! ```
//!
//! Nothing waits for the collector, but the end of the program, and that not for long. What may be
//! set is OpenTelemetry's: `OTEL_…` (docs/operations.md).

mod delivery;

use std::time::Duration;

use boma_engine::spans;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use delivery::{Collector, Told};

/// How long the program's end may wait for what is not delivered yet.
const FLUSH: Duration = Duration::from_secs(3);

/// How long a delivery may take where nothing else is said; OpenTelemetry's own.
const USUAL_PATIENCE: Duration = Duration::from_secs(10);

/// The one way in which spans are delivered.
const PROTOCOL: &str = "http/protobuf";

/// Why there are no traces although a collector was named. The name is left out: it may have a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTraces {
    /// Another protocol was asked for.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL is `{0}`; only `http/protobuf` is spoken, usually on port 4318"
    )]
    Protocol(String),
    /// The client could not be made.
    #[error("make a client for the collector of traces")]
    Client(#[source] reqwest::Error),
    /// The library takes the settings for wrong.
    #[error(
        "what the collector's address (OTEL_EXPORTER_OTLP_ENDPOINT) or its compression is set to cannot be used"
    )]
    Settings,
}

/// Looks a variable of the environment up.
type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// Spans on their way to a collector.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// As the environment says; none: it names no collector.
    ///
    /// # Errors
    /// It names one that cannot be talked to as it says.
    pub(crate) fn of_environment(variable: Variables<'_>) -> Result<Option<Self>, NoTraces> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if !are_wanted(&variable) {
            return Ok(None);
        }
        let specific = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        match specific.or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL")) {
            Some(other) if !other.eq_ignore_ascii_case(PROTOCOL) => {
                return Err(NoTraces::Protocol(other));
            }
            Some(_) | None => {}
        }
        let collector = Collector::new(patience(&variable)).map_err(NoTraces::Client)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .build()
            .map_err(|_tells_the_address| NoTraces::Settings)?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Told::new(exporter))
            .with_resource(resource(&variable))
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Some(Self(provider)))
    }

    /// What collects spans: those of `boma_engine::spans` and no other, nor anything that is logged.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'l> LookupSpan<'l>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("boma"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter_fn(|of| of.is_span() && of.target() == spans::TARGET))
    }

    /// Delivers what is left, as far as that is quickly done.
    pub(crate) fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans may not have reached their collector");
        }
    }
}

/// Whether there is anybody to deliver to.
fn are_wanted(variable: Variables<'_>) -> bool {
    let is = |name, what| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(what));
    let addresses = [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    let is_named = addresses.iter().any(|name| variable(name).is_some());
    is_named && !is("OTEL_SDK_DISABLED", "true") && !is("OTEL_TRACES_EXPORTER", "none")
}

/// How long one delivery may take.
fn patience(variable: Variables<'_>) -> Duration {
    let specific = variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT");
    let said = specific.or_else(|| variable("OTEL_EXPORTER_OTLP_TIMEOUT"));
    let milliseconds = said.and_then(|said| said.parse().ok());
    milliseconds.map_or(USUAL_PATIENCE, Duration::from_millis)
}

/// Who tells all this. What the environment says of it goes before what is known here.
fn resource(variable: Variables<'_>) -> Resource {
    let own = [
        KeyValue::new("service.name", "boma"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'s>(set: &'s [(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<'s> {
        move |name| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn traces_are_wanted_where_a_collector_is_named() {
        const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(are_wanted(&of(&[AT])));
        let specific = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1");
        assert!(are_wanted(&of(&[specific])));
        assert!(!are_wanted(&of(&[])));
        assert!(!are_wanted(&of(&[AT, ("OTEL_SDK_DISABLED", "True")])));
        assert!(are_wanted(&of(&[AT, ("OTEL_SDK_DISABLED", "1")])));
        assert!(!are_wanted(&of(&[AT, ("OTEL_TRACES_EXPORTER", "none")])));
        let empty = Traces::of_environment(&of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(matches!(empty, Ok(None)));
    }

    #[test]
    fn another_protocol_is_refused_by_its_name() {
        let refused = Traces::of_environment(&of(&[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://ann:hunter2@127.0.0.1:4317",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ]));
        let text = refused.map(drop).unwrap_err().to_string();
        assert!(text.contains("`grpc`") && text.contains("4318"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_delivery_takes_as_long_as_it_may() {
        assert_eq!(patience(&of(&[])), USUAL_PATIENCE);
        let general = ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000");
        let specific = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500");
        assert_eq!(patience(&of(&[general])), Duration::from_secs(2));
        let both = patience(&of(&[general, specific]));
        assert_eq!(both, Duration::from_millis(500));
    }

    #[test]
    fn it_is_boma_unless_somebody_says_otherwise() {
        let name = |resource: Resource| resource.get(&"service.name".into()).map(|v| v.to_string());
        assert_eq!(name(resource(&of(&[]))).as_deref(), Some("boma"));
        let called = resource(&of(&[("OTEL_SERVICE_NAME", "boma-staging")]));
        assert_eq!(name(called).as_deref(), Some("boma-staging"));
    }
}
