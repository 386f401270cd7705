//! The artifact store: a majority before the answer, repair from another member, nothing half or wrong kept.

use std::{path::PathBuf, time::Duration};

use berth_core::{
    error::{Code, Error},
    id::Digest,
};
use berth_proto::{
    api::v1::{
        Asset, AssetHeader, MissingAssetsRequest, UploadAssetRequest, assets_client::AssetsClient,
        upload_asset_request::Message,
    },
    node::v1::FetchAssetRequest,
    peer::v1::{ReadAssetRequest, peer_client::PeerClient},
    status::from_status,
};
use tokio::time::Instant;

use crate::{
    api_fleet::{Fleet, PATIENCE},
    session_node::node_client,
};

fn model(seed: u8) -> Vec<u8> {
    (0..700_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

async fn upload(fleet: &Fleet, at: usize, bytes: &[u8]) -> Result<Asset, Error> {
    upload_as(fleet, at, Digest::of(bytes), bytes.len() as u64, bytes).await
}

async fn upload_as(fleet: &Fleet, at: usize, digest: Digest, size_bytes: u64, bytes: &[u8]) -> Result<Asset, Error> {
    let header = AssetHeader { digest: digest.to_string(), size_bytes };
    let mut parts = vec![UploadAssetRequest { message: Some(Message::Header(header)) }];
    parts.extend(
        bytes.chunks(100_000).map(|part| UploadAssetRequest { message: Some(Message::Data(part.to_vec().into())) }),
    );
    let uploaded = AssetsClient::new(fleet.channel(at)).upload(tokio_stream::iter(parts)).await;
    uploaded.map(|asset| asset.into_inner()).map_err(|status| from_status(&status))
}

async fn fetch(fleet: &Fleet, at: usize, digest: Digest, offset: u64) -> Result<(u64, Vec<u8>), Error> {
    let request = FetchAssetRequest { digest: digest.0.to_vec(), offset };
    let fetched = node_client(fleet, at).fetch_asset(request).await.map_err(|status| from_status(&status))?;
    let (mut parts, mut size_bytes, mut bytes) = (fetched.into_inner(), 0, Vec::new());
    while let Some(part) = parts.message().await.map_err(|status| from_status(&status))? {
        size_bytes = size_bytes.max(part.size_bytes);
        bytes.extend_from_slice(&part.data);
    }
    Ok((size_bytes, bytes))
}

fn blob(fleet: &Fleet, at: usize, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    fleet.members[at].data_dir.join("artifacts/blobs").join(&name[..2]).join(name)
}

/// Waits until a file holds exactly these bytes.
async fn until_holds(path: PathBuf, bytes: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read(&path).ok().as_deref() != Some(bytes) {
        assert!(Instant::now() < deadline, "{} does not come", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_held_by_a_majority_and_read_from_any_member() {
    let fleet = Fleet::start(3).await;
    let bytes = model(0);
    let digest = Digest::of(&bytes);
    let missing = MissingAssetsRequest { digests: vec![digest.to_string()] };
    let mut assets = AssetsClient::new(fleet.channel(0));
    assert_eq!(assets.missing(missing.clone()).await.expect("told").into_inner().digests, [digest.to_string()]);
    let asset = upload(&fleet, fleet.follower().await, &bytes).await.expect("uploaded");
    assert_eq!((asset.digest, asset.size_bytes), (digest.to_string(), bytes.len() as u64));
    let held = (0..3).filter(|at| blob(&fleet, *at, digest).exists()).count();
    assert!(held >= 2, "{held} members hold it when the upload is answered");
    assert!(assets.missing(missing).await.expect("told").into_inner().digests.is_empty());
    for at in 0..3 {
        assert_eq!(fetch(&fleet, at, digest, 0).await.expect("fetched"), (bytes.len() as u64, bytes.clone()));
    }
    let (size_bytes, tail) = fetch(&fleet, 0, digest, 699_990).await.expect("fetched");
    assert_eq!((size_bytes, &tail[..]), (700_000, &bytes[699_990..]));
    assert_eq!(fetch(&fleet, 0, digest, 700_001).await.expect_err("beyond").code, Code::Invalid);
    assert_eq!(fetch(&fleet, 0, Digest::of(b"?"), 0).await.expect_err("unknown").code, Code::AssetNotFound);
    // A second upload of the same bytes is answered at once and changes nothing.
    let again = upload(&fleet, 1, &bytes).await.expect("known");
    assert_eq!(again.revision, asset.revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_it_says_is_refused_and_leaves_nothing() {
    let fleet = Fleet::start_with(1, |options| options.asset_max_bytes = 1_000_000).await;
    let bytes = model(1);
    let size_bytes = bytes.len() as u64;
    for (digest, size_bytes, code, why) in [
        (Digest::of(b"other"), size_bytes, Code::AssetDamaged, "other bytes"),
        (Digest::of(&bytes), size_bytes + 1, Code::Invalid, "too few"),
        (Digest::of(&bytes), size_bytes - 1, Code::Invalid, "too many"),
        (Digest::of(&bytes), 1_000_001, Code::TooLarge, "over the limit"),
    ] {
        let refused = upload_as(&fleet, 0, digest, size_bytes, &bytes).await;
        assert_eq!(refused.expect_err(why).code, code, "{why}");
        assert!(!blob(&fleet, 0, digest).exists(), "{why}");
    }
    // Nobody but a member hands assets around behind the API.
    let mut stranger = PeerClient::new(fleet.channel(0));
    let asked = ReadAssetRequest { digest: Digest::of(&bytes).0.to_vec(), offset: 0 };
    assert_eq!(from_status(&stranger.read_asset(asked).await.expect_err("refused")).code, Code::ClusterKey);
    let drafts = fleet.members[0].data_dir.join("artifacts/drafts");
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_dir(&drafts).expect("a folder").count() > 0 {
        assert!(Instant::now() < deadline, "drafts are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fleet.handle(0).read(|state| state.assets.len()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_down_does_not_stop_an_upload_and_fetches_it_later() {
    let mut fleet = Fleet::start(3).await;
    let down = fleet.follower().await;
    fleet.members[down].stop().await;
    let up = fleet.leader().await;
    let bytes = model(2);
    upload(&fleet, up, &bytes).await.expect("two of three are enough");
    fleet.members[down].start(None).await;
    until_holds(blob(&fleet, down, Digest::of(&bytes)), &bytes).await;
    // Two down are too many: the upload says so instead of promising.
    let others: Vec<usize> = (0..3).filter(|at| *at != up).collect();
    for at in others {
        fleet.members[at].stop().await;
    }
    let refused = upload(&fleet, up, &model(3)).await.expect_err("no majority");
    assert!(matches!(refused.code, Code::Unavailable | Code::NoLeader), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_blob_is_never_served_as_whole_and_is_repaired() {
    let fleet = Fleet::start(3).await;
    let bytes = model(4);
    let digest = Digest::of(&bytes);
    upload(&fleet, 0, &bytes).await.expect("uploaded");
    let path = blob(&fleet, 0, digest);
    let mut damaged = bytes.clone();
    damaged[350_000] ^= 1;
    std::fs::write(&path, &damaged).expect("written");
    let refused = fetch(&fleet, 0, digest, 0).await.expect_err("damaged");
    assert_eq!(refused.code, Code::AssetDamaged);
    // At once from another member, soon from its own disk again.
    assert_eq!(fetch(&fleet, 0, digest, 0).await.expect("fetched").1, bytes);
    until_holds(path, &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_before_anybody_asks() {
    let fleet = Fleet::start_with(3, |options| options.scrub_interval = Duration::from_millis(100)).await;
    let bytes = model(5);
    upload(&fleet, 0, &bytes).await.expect("uploaded");
    let path = blob(&fleet, 0, Digest::of(&bytes));
    until_holds(path.clone(), &bytes).await;
    let mut damaged = bytes.clone();
    damaged[1] ^= 1;
    std::fs::write(&path, &damaged).expect("written");
    until_holds(path, &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_member_fetches_what_it_lacks_and_then_counts() {
    let mut fleet = Fleet::start(1).await;
    let bytes = model(7);
    let digest = Digest::of(&bytes);
    upload(&fleet, 0, &bytes).await.expect("uploaded");
    let new = fleet.join().await;
    until_holds(blob(&fleet, new, digest), &bytes).await;
    // Two voters: from now on an upload needs both, so the new one counts.
    let voters =
        |status: &berth_coordinator::raft::RaftStatus| status.members.iter().filter(|member| member.voter).count();
    let deadline = Instant::now() + PATIENCE;
    fleet.handle(0).raft().wait_for(deadline, "two voters", |status| voters(status) == 2).await.expect("two voters");
    let more = model(8);
    upload(&fleet, 0, &more).await.expect("both hold it");
    assert_eq!(std::fs::read(blob(&fleet, new, Digest::of(&more))).expect("there"), more);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_refers_to_expires() {
    let fleet = Fleet::start_with(1, |options| {
        options.scrub_interval = Duration::from_millis(50);
        options.asset_grace = Duration::from_millis(300);
    })
    .await;
    let bytes = model(6);
    let asset = upload(&fleet, 0, &bytes).await.expect("uploaded");
    assert!(asset.revision > 0);
    fleet.until(0, "the asset expires", |state| state.assets.is_empty()).await;
    let path = blob(&fleet, 0, Digest::of(&bytes));
    let deadline = Instant::now() + PATIENCE;
    while path.exists() {
        assert!(Instant::now() < deadline, "its bytes stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It can come back.
    upload(&fleet, 0, &bytes).await.expect("uploaded again");
}
