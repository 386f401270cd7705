//! A minimal pingora proxy: a peer of the mesh in `docs/benchmarks/mesh.md`, and this file is its configuration.
//!
//! `berth-bench-pingora ADDRESS BACKEND…` forwards HTTP/2 without TLS to the backends in turn, over HTTP/2. It is pingora's
//! own example of a load balancer, without TLS and without the check of the backends' health, and with one thread.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    lb::{LoadBalancer, selection::RoundRobin},
    prelude::{HttpPeer, Result},
    protocols::http::v2::server::default_h2_options,
    proxy::{ProxyHttp, ProxyServiceBuilder, Session},
    server::{Server, configuration::ServerConf},
};

/// The same as in what it is compared with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Streams of a connection, as the other peers have it. One is pingora's default for connections to backends.
const STREAMS: u32 = 1_024;

struct Proxy(Arc<LoadBalancer<RoundRobin>>);

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let backend = self.0.select(b"", 256).expect("there are always backends");
        let mut peer = HttpPeer::new(backend, false, String::new());
        peer.options.set_http_version(2, 2);
        peer.options.max_h2_streams = STREAMS as usize;
        peer.options.h2_stream_window_size = Some(262_144);
        peer.options.h2_connection_window_size = Some(16_777_216);
        Ok(Box::new(peer))
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let address = words.next().expect("the first word is the address to listen on");
    let backends: Vec<_> = words.collect();
    assert!(!backends.is_empty(), "the other words are the addresses of backends");
    let backends = LoadBalancer::try_from_iter(backends).expect("addresses");

    // With one thread there is nobody to steal from, and without it a request costs a third less.
    let conf = ServerConf { threads: 1, work_stealing: false, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    let proxy = ProxyServiceBuilder::new(&server.configuration, Proxy(Arc::new(backends)));
    let mut proxy = proxy.server_options(options).build();
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(STREAMS).initial_window_size(262_144).initial_connection_window_size(1_048_576);
    proxy.app_logic_mut().expect("a proxy that was just built").h2_options = Some(h2);
    proxy.add_tcp(&address);
    server.add_service(proxy);
    server.run_forever();
}
