//! Uploads: what is held is not sent, what is sent arrives whole.

use std::fs;

use berth_client::{Client, ClientOptions, Code, Error};

use crate::fake::{Fake, Reply};

#[tokio::test]
async fn a_folder_is_sent_once() {
    let (fake, address) = Fake::start([Reply::Refuse(Error::new(Code::NoLeader, "on purpose"))]).await;
    let client = Client::new(ClientOptions::new([address.to_string()]).expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("score.py"), "def run(data): return data").expect("a file");
    fs::write(folder.path().join("weights"), vec![1_u8; 700_000]).expect("a file");
    let asset = client.upload(folder.path()).await.expect("an upload, at the second attempt");
    assert_eq!(fake.uploads(), 2);
    let bytes = fake.asset(asset.digest).expect("the bytes");
    assert_eq!(bytes.len() as u64, asset.size_bytes);
    assert!(!client.is_missing(asset.digest).await.expect("an answer"));
    assert_eq!(client.upload(folder.path()).await.expect("the same"), asset);
    assert_eq!(fake.uploads(), 2, "what is held is not sent again");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told_before_anything_is_sent() {
    let (fake, address) = Fake::start([]).await;
    let client = Client::new(ClientOptions::new([address.to_string()]).expect("an address"));
    let error = client.upload("/nowhere/at/all".as_ref()).await.expect_err("nothing there");
    assert_eq!((error.code, fake.uploads()), (Code::PathMissing, 0));
}
