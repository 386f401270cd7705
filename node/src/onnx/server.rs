//! The ONNX server's life: options, load, bind, accept, drain.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use berth_core::error::{Code, Error};
use http_body_util::Either;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::grpc;
use super::http::Shared;
use super::model::Model;

/// Open connections; the gate pools a few per core, so this only stops a leak from exhausting descriptors.
const CONNECTION_LIMIT: usize = 1_024;

/// How an ONNX model is served.
#[derive(Clone, Debug)]
pub struct OnnxOptions {
    /// The `.onnx` file, or a folder holding one.
    pub model_path: PathBuf,
    /// The name listed by `GET /v2/models`; requests may call the model by any name.
    pub model_name: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The largest request body, before and after decompression.
    pub max_body_bytes: usize,
    /// Inferences at one time.
    pub workers: usize,
    /// Requests that may wait for a worker; one more is refused with 503.
    pub max_waiting: usize,
    /// How long open requests may take to finish at shutdown.
    pub drain_ms: u64,
}

/// A loaded model and a bound port.
pub struct OnnxServer {
    listener: TcpListener,
    shared: Arc<Shared>,
    drain: Duration,
}

/// Serves a model until `shutdown` completes.
pub async fn serve(options: OnnxOptions, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    OnnxServer::bind(options).await?.serve(shutdown).await;
    Ok(())
}

/// Serves a model on a runtime of its own until the process is asked to stop (SIGTERM or SIGINT).
pub fn run_blocking(options: OnnxOptions) -> Result<(), Error> {
    let failed = |cause: std::io::Error| Error::new(Code::Internal, "cannot start the runtime").why(cause.to_string());
    // One thread moves bytes; models run on the blocking pool, whose size the semaphore rules.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let server = OnnxServer::bind(options).await?;
        server
            .serve(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            })
            .await;
        Ok(())
    })?;
    // An inference cannot be interrupted: past the drain deadline it is left behind.
    runtime.shutdown_background();
    Ok(())
}

// === impl OnnxOptions ===

impl OnnxOptions {
    /// Creates options with every default.
    pub fn new(model_path: impl Into<PathBuf>, model_name: impl Into<String>, listen: SocketAddr) -> Self {
        Self {
            model_path: model_path.into(),
            model_name: model_name.into(),
            listen,
            // A batch of 100 images of 224 × 224 × 3 floats is 60 MB.
            max_body_bytes: 64 << 20,
            workers: available_parallelism().map_or(1, usize::from),
            // The gate in front holds the queue that counts; this one only absorbs its bursts.
            max_waiting: 256,
            drain_ms: 10_000,
        }
    }
}

// === impl OnnxServer ===

impl OnnxServer {
    /// Loads the model, then binds: a server that accepts connections is ready.
    pub async fn bind(options: OnnxOptions) -> Result<Self, Error> {
        let OnnxOptions { model_path, model_name, listen, max_body_bytes, workers, max_waiting, drain_ms } = options;
        let workers = workers.max(1);
        let path = model_path.clone();
        let model = tokio::task::spawn_blocking(move || Model::load(&path))
            .await
            .map_err(|cause| Error::new(Code::Internal, "loading the model broke off").why(cause.to_string()))??;
        let listener = TcpListener::bind(listen).await.map_err(|cause| {
            Error::new(Code::ReplicaStart, format!("cannot listen on {listen}")).why(cause.to_string())
        })?;
        info!(model = %model_path.display(), workers, "model loaded");
        let shared = Shared::new(model, model_name, max_body_bytes, workers, max_waiting);
        Ok(Self { listener, shared: Arc::new(shared), drain: Duration::from_millis(drain_ms) })
    }

    /// Returns the address it listens on.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.listener
            .local_addr()
            .map_err(|cause| Error::new(Code::Internal, "the listener has no address").why(cause.to_string()))
    }

    /// Answers requests until `shutdown` completes, then lets open ones finish within the drain time.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared, drain } = self;
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let place = tokio::select! {
                () = &mut shutdown => break,
                place = Arc::clone(&connections).acquire_owned() => place,
            };
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(cause) => {
                    // Out of descriptors, mostly: a pause lets some be closed.
                    warn!(%cause, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if let Err(cause) = stream.set_nodelay(true) {
                debug!(%cause, "cannot set nodelay");
            }
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move {
                    Ok::<_, Infallible>(match grpc::is_call(&request) {
                        true => grpc::answer(shared, request).await.map(Either::Right),
                        false => shared.answer(request).await.map(Either::Left),
                    })
                }
            });
            // No idle timeout: closing a pooled connection races with the gate's next request on it.
            let builder = auto::Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                let _place = place;
                if let Err(cause) = connection.await {
                    debug!(%cause, "connection ended early");
                }
            });
        }
        drop(listener);
        shared.start_draining();
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            warn!(drain_ms = drain.as_millis() as u64, "requests were still open at the end of the drain time");
        }
    }
}
