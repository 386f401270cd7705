//! What a process of ours does once: log, notice that it should end, know its own binary.

use std::path::PathBuf;

use berth_core::error::{Code, Error};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogConfig;

/// Sends log lines to stderr from here on.
pub(crate) fn log(config: &LogConfig) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| {
        Error::new(Code::Invalid, format!("`{}` is no log filter", config.filter)).why(error.to_string())
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let set = if config.json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && !crate::output::declines_color();
        registry.with(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).try_init()
    };
    set.map_err(|error| Error::new(Code::Internal, "logging could not be set up").why(error.to_string()))
}

/// Completes when the process is asked to end. A second request ends it at once: whoever asks twice means it.
pub(crate) fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| Error::new(Code::Internal, "signals cannot be listened for").why(error.to_string()))
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            // As a shell counts a process that SIGINT ended.
            std::process::exit(130);
        });
    })
}

/// Returns the path of this program, which nodes run for ONNX replicas.
pub(crate) fn this_binary() -> Result<PathBuf, Error> {
    std::env::current_exe()
        .map_err(|error| Error::new(Code::Internal, "this program does not know where it lies").why(error.to_string()))
}
