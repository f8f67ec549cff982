//! Logs and traces: text or JSON on standard error, and spans over OTLP when an endpoint is set.
//!
//! The request's span carries its id, so every line written on its behalf has it. Keys, payloads
//! and addresses are never fields.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

const EXPORT_DEADLINE: Duration = Duration::from_secs(5);

/// What is written, how, and where spans go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// In the words of `tracing_subscriber::EnvFilter`: `info,codash_store=debug`.
    pub filter: String,
    pub format: LogFormat,
    /// The base address of an OTLP/HTTP collector.
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text, otlp_endpoint: None }
    }
}

/// What must be flushed before the process ends.
#[derive(Debug, Default)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends the spans that still wait. Call from the runtime that [`init`] was called in.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(EXPORT_DEADLINE)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(error = %error, "the last spans were not exported");
        }
    }
}

/// Installs the subscriber of this process, once, inside the runtime that exports spans.
pub fn init(settings: &LogSettings) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|e| format!("the log filter cannot be read: {e}"))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    let provider = settings.otlp_endpoint.as_deref().map(provider).transpose()?;
    let spans = provider.as_ref().map(|p| tracing_opentelemetry::layer().with_tracer(p.tracer("codash")));
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(spans)
        .try_init()
        .map_err(|e| format!("telemetry could not start: {e}"))?;
    Ok(Telemetry { provider })
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, String> {
    let fault = |e: &dyn std::fmt::Display| format!("spans cannot be exported: {e}");
    // Another part of the process may have installed one already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(EXPORT_DEADLINE).build().map_err(|e| fault(&e))?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(traces_endpoint(endpoint))
        .with_timeout(EXPORT_DEADLINE)
        .build()
        .map_err(|e| fault(&e))?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(OnRuntime { runtime: Handle::current(), exporter: Arc::new(exporter) })
        .with_resource(Resource::builder().with_service_name("codash").build())
        .build())
}

/// The signal's path is added unless it is there.
fn traces_endpoint(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
}

/// The batch processor runs on a thread of its own, without a reactor; the HTTP client needs one.
#[derive(Debug)]
struct OnRuntime<E> {
    runtime: Handle,
    exporter: Arc<E>,
}

impl<E: SpanExporter + 'static> SpanExporter for OnRuntime<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = Arc::clone(&self.exporter);
        let sent = self.runtime.spawn(async move { exporter.export(batch).await }).await;
        sent.unwrap_or_else(|e| Err(OTelSdkError::InternalFailure(e.to_string())))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

/// The span of one request, under the caller's trace when it sent one. At the highest level, so that
/// no filter takes the request id off a line.
pub fn request_span(request: &Request, request_id: &str) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str);
    let span = tracing::error_span!(
        "http",
        otel.name = %format_args!("{} {route}", request.method()),
        otel.kind = "server",
        request.id = request_id,
        http.request.method = %request.method(),
        http.route = route,
        workspace.id = Empty,
        key.id = Empty,
    );
    if request.headers().contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Without an exporter there is nothing to be a parent of.
        let _ = span.set_parent(parent);
    }
    span
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_signal_is_added_once() {
        for base in ["http://otel:4318", "http://otel:4318/", "http://otel:4318/v1/traces"] {
            assert_eq!(traces_endpoint(base), "http://otel:4318/v1/traces");
        }
    }
}
