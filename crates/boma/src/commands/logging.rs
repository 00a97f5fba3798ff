//! Logs of the program itself: to standard error, or to the log file that standard error is.

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts logging: warnings, or more with `-v`; `BOMA_LOG` says it precisely.
pub(crate) fn start(verbose: u8, ansi: bool, format: LogFormat) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("BOMA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(std::io::stderr);
    // A second start, in tests, leaves the first one in place.
    let _already_started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
