//! Berth's pure core: the model, the replicated state machine, scheduler, planner, traffic policy and invariants.
