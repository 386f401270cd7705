//! Against another implementation, and against itself.

use super::*;

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

/// Bodies of many sizes, many at once, with trailers: from the other implementation's client to this server.
#[test]
fn another_client_is_served() {
    run(async {
        let (ours, theirs) = tokio::io::duplex(10_000);
        tokio::task::spawn_local(serve(ours, Settings { streams: 50, ..ALLOWED }));
        let (sender, connection) = h2::client::handshake(theirs).await.expect("HTTP/2");
        tokio::task::spawn_local(connection);
        let asked = (0..200_usize).map(|at| {
            let mut sender = sender.clone();
            tokio::task::spawn_local(async move {
                let body = Bytes::from(vec![at as u8; at * at * 7]);
                poll_fn(|cx| sender.poll_ready(cx)).await.expect("a place");
                let request = Request::post("http://any/echo").header("x-number", at).header("te", "trailers").body(());
                let (answer, mut send) = sender.send_request(request.expect("a request"), false).expect("sent");
                send.send_data(body.clone(), false).expect("sent");
                send.send_trailers(trailers()).expect("sent");
                let answer = answer.await.expect("an answer");
                assert_eq!(answer.headers()["x-number"], at.to_string());
                let (mut got, mut recv) = (Vec::new(), answer.into_body());
                while let Some(data) = recv.data().await {
                    let data = data.expect("data");
                    recv.flow_control().release_capacity(data.len()).expect("taken");
                    got.extend_from_slice(&data);
                }
                assert!(got == body, "the body of {at}");
                assert_eq!(recv.trailers().await.expect("trailers"), Some(trailers()));
            })
        });
        for asked in asked.collect::<Vec<_>>() {
            asked.await.expect("no panic");
        }
    });
}

/// Asks and hears an echo.
async fn ask(client: Client, at: usize) {
    let body = Bytes::from(vec![at as u8; at * at * 7]);
    let request = Request::post("http://any/echo").header("x-number", at).header("te", "trailers").body(());
    let place = client.place().await.expect("a place");
    let (mut recv, mut send) = client.ask(place, &request.expect("a request"), false).expect("sent");
    let sent = body.clone();
    let sending = tokio::task::spawn_local(async move {
        let mut sent = sent;
        poll_fn(|cx| send.poll_send(cx, &mut sent, false)).await.expect("sent");
        send.trailers(&trailers()).expect("sent");
    });
    let answer = poll_fn(|cx| recv.poll_answer(cx)).await.expect("an answer");
    assert_eq!(answer.headers()["x-number"], at.to_string());
    let mut got = Vec::new();
    while let Some(data) = poll_fn(|cx| recv.poll_data(cx)).await {
        got.extend_from_slice(&data.expect("data"));
    }
    assert!(got == body, "the body of {at}");
    assert_eq!(recv.trailers(), Some(trailers()));
    assert!(recv.is_end());
    sending.await.expect("no panic");
}

/// And from this client to the other implementation's server, and to this one.
#[test]
fn another_server_is_asked() {
    for is_ours in [false, true] {
        run(async {
            let (ours, theirs) = tokio::io::duplex(10_000);
            match is_ours {
                true => drop(tokio::task::spawn_local(serve(theirs, Settings { streams: 7, ..ALLOWED }))),
                false => drop(tokio::task::spawn_local(other_echo(theirs))),
            }
            let (client, mut connection) = client(ours, Settings { streams: 3, ..ALLOWED });
            let driven = tokio::task::spawn_local(async move { poll_fn(|cx| connection.poll(cx, drop)).await });
            let asked: Vec<_> = (0..200).map(|at| tokio::task::spawn_local(ask(client.clone(), at))).collect();
            for asked in asked {
                asked.await.expect("no panic");
            }
            drop(client);
            driven.await.expect("no panic").expect("it ends in order when nobody uses it any more");
        });
    }
}

async fn other_echo(stream: DuplexStream) {
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.max_concurrent_streams(7).handshake(stream).await.expect("HTTP/2");
    while let Some(come) = connection.accept().await {
        let (request, mut respond) = come.expect("a request");
        tokio::task::spawn_local(async move {
            let mut answer = Response::new(());
            answer.headers_mut().insert("x-number", request.headers()["x-number"].clone());
            let mut send = respond.send_response(answer, false).expect("sent");
            let mut recv = request.into_body();
            while let Some(data) = recv.data().await {
                let data = data.expect("data");
                recv.flow_control().release_capacity(data.len()).expect("taken");
                send.send_data(data, false).expect("sent");
            }
            let trailers = recv.trailers().await.expect("trailers").expect("there are some");
            send.send_trailers(trailers).expect("sent");
        });
    }
}
