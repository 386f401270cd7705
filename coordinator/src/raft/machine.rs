//! What consensus needs from the state it replicates.

use berth_core::id::LogIndex;

/// Why a snapshot could not be restored.
pub type RestoreError = Box<dyn std::error::Error + Send + Sync>;

/// The replicated state: bytes in, bytes out.
///
/// All calls come one after another. Reads from elsewhere are the implementation's own affair.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one committed command and returns what its proposer is told.
    ///
    /// Every member applies the same commands in the same order and must come to the same state: no clock, no
    /// randomness, no I/O. Indexes rise, with gaps where consensus keeps entries of its own. A panic stops the member.
    fn apply(&self, index: LogIndex, command: &[u8]) -> Vec<u8>;

    /// Returns everything applied so far. May take its time: heartbeats do not wait for it, commands do.
    fn snapshot(&self) -> Vec<u8>;

    /// Returns the newest level of commands that this build understands.
    fn knows_level(&self) -> u32 {
        1
    }

    /// Returns the level that the state demands: a member that knows less is not taken in.
    fn demands_level(&self) -> u32 {
        1
    }

    /// Replaces the whole state. An error stops the member.
    fn restore(&self, snapshot: &[u8]) -> Result<(), RestoreError>;
}
