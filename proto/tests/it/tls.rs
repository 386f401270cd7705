//! Both ends of TLS: who is let in, what who is not hears, and certificates that are renewed under way.

use std::{
    error::Error as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use berth_core::error::{Code, Error};
use berth_proto::tls::{Audience, Inside, Server, ServerFiles, TlsFiles, Trust, TrustFiles, Watch, channel, fault};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::transport::Endpoint;

/// An authority and what it signed, as files.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let dir = TempDir::new().expect("a folder");
        let pem = params.self_signed(&key).expect("an authority").pem();
        std::fs::write(dir.path().join("ca.pem"), pem).expect("written");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Signs a certificate for a name, from a year ago until then.
    fn signed(&self, file: &str, name: &str, until_year: i32) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |kind: &str| self.dir.path().join(format!("{file}.{kind}"));
        let files = TlsFiles { cert: path("pem"), key: path("key") };
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        std::fs::write(&files.cert, certificate.pem()).expect("written");
        files
    }
}

/// Serves TLS and sends back what it gets.
async fn serve(files: &ServerFiles) -> (SocketAddr, Watch) {
    let (server, watch) = Server::open(files, "in a test").expect("files that fit");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let Ok((mut stream, _)) = server.accept(stream).await else { return };
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            });
        }
    });
    (address, watch)
}

/// Connects as `localhost`, and says one byte.
async fn call(trust: &Trust, address: SocketAddr) -> Result<(), Error> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let connected = trust.connect(&format!("localhost:{}", address.port()), stream, Inside::Http2).await;
    let mut stream = connected.map_err(|error| fault(&error).unwrap_or_else(|| panic!("no fault of TLS: {error}")))?;
    stream.write_all(b"x").await.expect("sent");
    assert_eq!(stream.read_u8().await.expect("an answer"), b'x');
    Ok(())
}

fn trust(ca: &Path, own: Option<TlsFiles>) -> Trust {
    Trust::open(&TrustFiles { ca: ca.to_owned(), own }).expect("files")
}

/// Each row: what is shown, who is let in, who calls with what, and what it hears.
#[tokio::test]
async fn who_is_not_believed_hears_why_and_the_others_are_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = ours.signed("good", "localhost", 2100);
    let named = ours.signed("named", "elsewhere.example", 2100);
    let old = ours.signed("old", "localhost", 2021);
    let caller = ours.signed("caller", "somebody", 2100);
    let stranger = theirs.signed("stranger", "somebody", 2100);
    let plain = |own: &TlsFiles| ServerFiles { own: own.clone(), client_ca: None };
    let mutual = ServerFiles { own: good.clone(), client_ca: Some(ours.ca()) };
    for (why, server, trust, heard) in [
        ("who believes the authority", plain(&good), trust(&ours.ca(), None), ""),
        ("a certificate nobody asked for", plain(&good), trust(&ours.ca(), Some(stranger.clone())), ""),
        ("another authority", plain(&good), trust(&theirs.ca(), None), "nobody in"),
        ("another name", plain(&named), trust(&ours.ca(), None), "elsewhere.example"),
        ("another year", plain(&old), trust(&ours.ca(), None), "expired"),
        ("a caller of theirs", mutual.clone(), trust(&ours.ca(), Some(caller)), ""),
        ("a caller without", mutual.clone(), trust(&ours.ca(), None), "none was shown"),
        ("a caller of others", mutual, trust(&ours.ca(), Some(stranger)), "its answer was"),
    ] {
        let (address, _watch) = serve(&server).await;
        match call(&trust, address).await {
            Ok(()) => assert_eq!(heard, "", "{why} is let in"),
            Err(error) => {
                assert_eq!(error.code, Code::Tls, "{why}: {error}");
                assert!(!heard.is_empty() && error.why.contains(heard), "{why}: {error}");
                assert!(error.what.contains("localhost:") && !error.try_.is_empty(), "{why}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_in_its_own_protocol() {
    let authority = Authority::new();
    let files = ServerFiles { own: authority.signed("own", "localhost", 2100), client_ca: None };
    let (address, _watch) = serve(&files).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: any\r\n\r\n").await.expect("sent");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.expect("an answer");
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.ends_with("this port speaks TLS: use https"), "{heard}");

    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let mut client = berth_proto::api::v1::cluster_client::ClusterClient::new(channel(&endpoint, None));
    let status = client.info(berth_proto::api::v1::ClusterInfoRequest {}).await.expect_err("TLS is spoken there");
    let error = fault(&status).unwrap_or_else(|| panic!("no fault of TLS: {status:?} {:?}", status.source()));
    assert_eq!(error.code, Code::Tls);
    assert!(error.try_.contains("https://"), "{error}");
    assert_eq!(berth_proto::status::from_status(&status), error);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let authority = Authority::new();
    let files = ServerFiles { own: authority.signed("own", "localhost", 2100), client_ca: None };
    let (server, _watch) = Server::open(&files, "in a test").expect("files that fit");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let _silent = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let (stream, _) = listener.accept().await.expect("accepted");
    let ended = server.accept(stream).await.expect_err("nothing was said");
    assert_eq!(ended.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn what_answers_without_tls_is_named() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let error = call(&trust(&authority.ca(), None), address).await.expect_err("no TLS");
    assert!(error.code == Code::Tls && error.what.contains("speaks no TLS"), "{error}");

    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    let mut client = berth_proto::api::v1::cluster_client::ClusterClient::new(channel(&endpoint, None));
    let status = client.info(berth_proto::api::v1::ClusterInfoRequest {}).await.expect_err("nobody is believed");
    let error = fault(&status).unwrap_or_else(|| panic!("{status:?}"));
    assert!(error.code == Code::Tls && error.what.contains("nobody is believed"), "{error}");
}

#[tokio::test]
async fn renewed_files_are_for_connections_to_come_at_both_ends() {
    let authority = Authority::new();
    let caller = authority.signed("caller", "somebody", 2100);
    let server = ServerFiles { own: authority.signed("own", "localhost", 2100), client_ca: Some(authority.ca()) };
    let (address, _watch) = serve(&server).await;
    let files = TrustFiles { ca: authority.ca(), own: Some(caller) };
    let (trust, _files) = Trust::watch(&files, "in a test").expect("files");
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut open = trust.connect("localhost:1", stream, Inside::Http2).await.expect("believed");
    call(&trust, address).await.expect("believed");

    // Everybody moves to another authority; what was open goes on.
    let next = Authority::new();
    let replace = |from: &Path, to: &Path| {
        std::fs::copy(from, to).expect("copied");
        let file = std::fs::File::options().append(true).open(to).expect("the file");
        // A clock that is coarser than this test must not hide the change.
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).expect("touched");
    };
    for (name, for_whom) in [("own", "localhost"), ("caller", "somebody")] {
        let fresh = next.signed(name, for_whom, 2100);
        replace(&fresh.cert, &authority.dir.path().join(format!("{name}.pem")));
        replace(&fresh.key, &authority.dir.path().join(format!("{name}.key")));
    }
    replace(&next.ca(), &authority.ca());
    let newcomer = Arc::new(self::trust(&next.ca(), Some(next.signed("late", "somebody", 2100))));
    let taken_up = async {
        while call(&newcomer, address).await.is_err() || call(&trust, address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_up).await.expect("taken up");
    open.write_all(b"y").await.expect("sent");
    assert_eq!(open.read_u8().await.expect("what was open goes on"), b'y');
}

#[test]
fn a_certificate_nobody_would_believe_is_found_at_start() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let own = ours.signed("own", "c1.example", 2100);
    let files = |client_ca| ServerFiles { own: own.clone(), client_ca };
    for (why, client_ca, ca, host, good) in [
        ("all of it fits", None, ours.ca(), "c1.example", true),
        ("mutual, by the same authority", Some(ours.ca()), ours.ca(), "c1.example", true),
        ("another name", None, ours.ca(), "c2.example", false),
        ("another authority", None, theirs.ca(), "c1.example", false),
        ("members could not call each other", Some(theirs.ca()), ours.ca(), "c1.example", false),
        ("no such file", Some("absent".into()), ours.ca(), "c1.example", false),
    ] {
        let checked = files(client_ca).check(&Audience { ca, host: host.to_owned() });
        assert_eq!(checked.is_ok(), good, "{why}: {checked:?}");
    }
    let old = ServerFiles { own: ours.signed("old", "c1.example", 2021), client_ca: None };
    assert_eq!(
        old.check(&Audience { ca: ours.ca(), host: "c1.example".to_owned() }),
        Ok(()),
        "a date is a word in the log: it will be renewed"
    );
}
