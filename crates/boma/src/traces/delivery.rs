//! Delivering spans: the client, and what is said when it fails.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;

/// More than this of an answer is not read: it says in a line how many spans were refused.
const LONGEST_ANSWER: u64 = 64 << 10;

/// The collector, asked from the thread that delivers, which may wait.
#[derive(Debug)]
pub(super) struct Collector(Client);

impl Collector {
    pub(super) fn new(patience: Duration) -> Result<Self, reqwest::Error> {
        // Another part of this process may have installed the same one.
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        // What is sent along, a key perhaps, is for the collector and for nobody that it points to.
        let client = Client::builder().timeout(patience).redirect(Policy::none());
        client.build().map(Self)
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let sent = self.0.post(head.uri.to_string()).headers(head.headers);
        let answer = sent.body(body).send().map_err(|error| {
            // An address may have a password in it.
            let error = error.without_url();
            tracing::debug!(error = &error as &dyn std::error::Error, "deliver spans");
            error
        })?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        answer.take(LONGEST_ANSWER).read_to_end(&mut body)?;
        Ok(response.body(body.into())?)
    }
}

/// Delivers, and says so once when it begins to fail.
#[derive(Debug)]
pub(super) struct Told<E> {
    exporter: E,
    fails: AtomicBool,
}

impl<E> Told<E> {
    pub(super) fn new(exporter: E) -> Self {
        Self {
            exporter,
            fails: AtomicBool::new(false),
        }
    }

    fn tell(&self, result: &OTelSdkResult) {
        let failed_before = self.fails.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "spans do not reach their collector, and are dropped until they do");
            }
            Ok(()) if failed_before => tracing::info!("spans reach their collector again"),
            Ok(()) | Err(_) => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.tell(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
