//! A collector: it keeps what is delivered, or never answers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

/// A collector on a port of its own. Its threads end with the test.
pub(super) struct Collector {
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub(super) address: String,
    received: Arc<Mutex<Received>>,
}

/// What was delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// Request lines and headers.
    pub(super) heads: Vec<String>,
    pub(super) bodies: Vec<Vec<u8>>,
    pub(super) resources: Vec<BTreeMap<String, String>>,
    pub(super) spans: Vec<Span>,
}

/// A span, as one reads it.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty: it has none.
    pub(super) parent: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) failed: bool,
    pub(super) message: String,
    pub(super) events: usize,
}

impl Span {
    /// Fails unless it has attributes with these values.
    pub(super) fn has(&self, attributes: &[(&str, &str)]) -> Result<()> {
        for (key, value) in attributes {
            let is = self.attributes.get(*key).map(String::as_str);
            ensure!(is == Some(*value), "{key} is not {value}: {self:?}");
        }
        Ok(())
    }
}

impl Received {
    /// The first span of a name.
    pub(super) fn named(&self, name: &str) -> Result<&Span> {
        let mut spans = self.spans.iter();
        let found = spans.find(|span| span.name == name);
        found.with_context(|| {
            let names: Vec<_> = self.spans.iter().map(|span| &*span.name).collect();
            format!("no span {name:?} among {names:?}")
        })
    }

    /// A span of a name within another one.
    pub(super) fn child(&self, parent: &str, name: &str) -> Option<&Span> {
        let mut spans = self.spans.iter();
        spans.find(|span| span.parent == parent && span.name == name)
    }

    fn add(&mut self, head: String, body: Vec<u8>) -> Result<()> {
        let request = ExportTraceServiceRequest::decode(&*body)?;
        self.heads.push(head);
        self.bodies.push(body);
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap_or_default();
            self.resources.push(plain(resource.attributes));
            let scopes = of_resource.scope_spans.into_iter();
            let spans = scopes.flat_map(|of_scope| of_scope.spans);
            self.spans.extend(spans.map(span));
        }
        Ok(())
    }
}

impl Collector {
    /// One that keeps what it gets.
    pub(super) fn answering() -> Result<Self> {
        Self::on_port(|stream, received| {
            // A connection ends when whoever delivers has ended.
            let _ended = keep(stream, received);
        })
    }

    /// One that takes a connection, and never says anything.
    pub(super) fn silent() -> Result<Self> {
        Self::on_port(|mut stream, _| {
            let _ended = std::io::copy(&mut stream, &mut std::io::sink());
        })
    }

    fn on_port(serve: fn(TcpStream, &Mutex<Received>)) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Mutex::new(Received::default()));
        let kept = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Ok(Self { address, received })
    }

    /// What was delivered until now.
    pub(super) fn received(&self) -> Received {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps the requests of one connection.
fn keep(stream: TcpStream, received: &Mutex<Received>) -> Result<()> {
    let mut answering = stream.try_clone()?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(stream.read_line(&mut head)? > 0, "the connection has ended");
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.split_once("content-length: ").context("a length")?.1;
        let length = length.split("\r\n").next().unwrap_or_default().parse()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        received.add(head, body)?;
        drop(received);
        answering.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

fn span(span: v1::Span) -> Span {
    let status = span.status.clone().unwrap_or_default();
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        kind: span.kind().as_str_name(),
        name: span.name,
        attributes: plain(span.attributes),
        failed: status.code() == StatusCode::Error,
        message: status.message,
        events: span.events.len(),
    }
}

fn plain(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pairs = attributes.into_iter();
    pairs.map(|one| (one.key, text(one.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
