//! The nouns of Berth and the rules a value of each must keep.

mod alert;
mod asset;
mod deployment;
mod device;
mod disconnect;
mod endpoint;
mod family;
mod gpu_ask;
mod hedging;
mod label;
mod mirror;
mod name;
mod node;
mod priority;
mod quota;
mod replica;
mod reserve;
mod settings;
mod size;
mod spread;
mod traffic;

pub use alert::{
    Alert, AlertKey, AlertRule, AlertSeverity, AlertState, Condition, ConditionError, Measure, Side, is_word,
};
pub use asset::{Asset, AssetKind, AssetRef};
pub use deployment::{
    Code, Deployment, DeploymentSpec, Environment, FailedReplica, GpuAsk, HttpRoute, Model, ModelType, Probe,
    RequestSettings, Runtime,
};
pub(crate) use device::is_model;
pub use device::{Device, DeviceCondition, DeviceGrant, DeviceState};
pub use disconnect::{Disconnect, Reconcile};
pub use endpoint::{AuthMode, Endpoint, EndpointKeys, EndpointSpec, SealedKey};
pub(crate) use family::cut_from_gb;
pub use family::{Family, FamilyAmount, FamilyUnit, mig_memory_mib};
pub use gpu_ask::{GPU_MEMORY_MIB_MAX, GPUS_MAX, GpuAskError};
pub use hedging::{HEDGE_PERCENT_MAX, HedgeAfter, Hedging};
pub use label::LabelRule;
pub use mirror::MirrorRules;
pub use name::{DeploymentKey, DeploymentName, EndpointName, NameError, NodeName, ProjectName};
pub use node::{DrainBy, Node, NodeDrain, NodeProfile, NodeState};
pub use priority::{PRIORITY_GAP, PRIORITY_MAX, Yielded, yields};
pub use quota::{
    LOAN_MAX, LOAN_MIN, LOANS_MAX, Loan, PROJECTS_MAX, ProjectQuota, QUOTA_MILLI_MAX, Quotas, check_amounts,
};
pub use replica::{Replica, ReplicaState};
pub use reserve::{ReleaseCause, ReserveSlot, ReserveSpend, SpendCause, reserve_of};
pub use settings::{Settings, SettingsChange, UpgradeLock};
pub use size::{InstanceType, instance_type, instance_types};
pub use spread::{Spread, SpreadBy};
pub use traffic::Traffic;
