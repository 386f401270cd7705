//! Assets: committed once a majority holds them, forgotten once nothing refers to them.

use super::{ClusterState, Context, Reply};
use crate::{
    error::Error,
    id::{Digest, MemberId},
    model::Asset,
};

impl ClusterState {
    pub(super) fn asset_commit(
        &mut self,
        cx: &mut Context,
        digest: Digest,
        size_bytes: u64,
        holders: &[MemberId],
    ) -> Result<Reply, Error> {
        if let Some(asset) = self.assets.get(&digest) {
            return Ok(Reply::Done { revision: asset.revision });
        }
        let mut holders = holders.to_vec();
        holders.sort_unstable();
        holders.dedup();
        let asset = Asset { digest, size_bytes, committed_at: cx.now, revision: cx.index, holders };
        self.assets.insert(digest, asset);
        cx.done()
    }

    /// Forgets assets, except those that a deployment came to refer to while the entry was on its way.
    pub(super) fn asset_expire(&mut self, cx: &mut Context, digests: &[Digest]) -> Result<Reply, Error> {
        let specs = self
            .deployments
            .values()
            .flat_map(|deployment| std::iter::once(&deployment.spec).chain(deployment.old_specs.values()));
        let used: std::collections::BTreeSet<Digest> =
            specs.flat_map(|spec| spec.assets()).map(|asset| asset.digest).collect();
        for digest in digests.iter().filter(|digest| !used.contains(digest)) {
            self.assets.remove(digest);
        }
        cx.done()
    }
}
