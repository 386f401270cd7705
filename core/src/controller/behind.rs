//! Which routers do not know of a change yet, for whoever has just made it.

use super::Controller;
use crate::{id::LogIndex, state::ClusterState};

impl Controller {
    /// Names the nodes that are not lost and whose routers have not taken this version of the table, as far as this
    /// leader has heard.
    pub fn routers_behind(&self, state: &ClusterState, version: LogIndex) -> Vec<String> {
        self.routers.behind(state, version).map(|node| node.profile.name.to_string()).collect()
    }
}
