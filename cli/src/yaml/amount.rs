//! What one instance needs: Azure's size names, Kubernetes' requests, and Berth's compact forms.

use berth_core::{
    error::nearest,
    model::{DeploymentSpec, GpuAsk, GpuAskError, instance_type, instance_types},
    units::{parse_cpu_milli, parse_mib},
};

use super::{
    fields::{Field, Fields, clip},
    finding::Findings,
};

/// Reads `instance_type` through the table of sizes.
pub(super) fn read_instance_type(field: &Field<'_>, spec: &mut DeploymentSpec, findings: &mut Findings) {
    let Some(text) = field.text(findings) else { return };
    let Some(size) = instance_type(text) else {
        let known: Vec<_> = instance_types().collect();
        let full = if text.to_ascii_lowercase().starts_with("standard_") {
            text.to_owned()
        } else {
            format!("Standard_{text}")
        };
        let try_ = match nearest(&full, known.iter().map(String::as_str)) {
            Some(near) => format!("`{near}`"),
            None => "name a size such as `Standard_DS3_v2`, or give `resources`".to_owned(),
        };
        field.refuse(findings, format!("`{}` is not a known size", clip(text)), try_);
        return;
    };
    spec.instance_type = text.to_owned();
    spec.resources = size.resources();
    spec.gpu = size.gpu_ask();
    spec.reserve = size.reserve;
}

/// Reads `resources`: `cpu`, `memory`, `disk`, `gpu`, or Kubernetes' `requests` and `limits`.
pub(super) fn read_resources(field: &Field<'_>, spec: &mut DeploymentSpec, findings: &mut Findings) {
    let mut fields = Fields::open(field, findings);
    read_amounts(&mut fields, spec, findings);
    // What a container may burst to is no promise; what it asks for is what it is placed by.
    let limits = fields.take("limits");
    let requests = fields.take("requests");
    for part in [limits.as_ref(), requests.as_ref()].into_iter().flatten() {
        let mut inner = Fields::open(part, findings);
        read_amounts(&mut inner, spec, findings);
        inner.finish(findings);
    }
    fields.finish(findings);
}

fn read_amounts(fields: &mut Fields<'_>, spec: &mut DeploymentSpec, findings: &mut Findings) {
    let mut read = |name, slot: &mut u64, parse: &dyn Fn(&str) -> Result<u64, String>| {
        if let Some(field) = fields.take(name)
            && let Some(text) = field.text(findings)
        {
            match parse(text.trim_end_matches("..").trim()) {
                Ok(amount) => *slot = amount,
                Err(error) => field.refuse(findings, error, ""),
            }
        }
    };
    let cpu = |text: &str| parse_cpu_milli(text).map_err(|error| error.to_string());
    let mib = |text: &str| parse_mib(text).map_err(|error| error.to_string());
    read("cpu", &mut spec.resources.cpu_milli, &cpu);
    read("memory", &mut spec.resources.memory_mib, &mib);
    read("disk", &mut spec.resources.disk_mib, &mib);
    let mut gpu = None;
    for name in ["gpu", "nvidia.com/gpu"] {
        if let Some(field) = fields.take(name) {
            let ask = field.text(findings).map(GpuAsk::parse);
            gpu = take_gpu(&field, ask, findings).or(gpu);
        }
    }
    if let Some(field) = fields.take("gpu_memory") {
        if gpu.as_ref().is_some_and(|ask| *ask != GpuAsk::None) {
            let try_ = "keep `gpu` for whole devices or slices, or `gpu_memory` for a share of one";
            field.refuse(findings, "an instance has either whole devices or a share of one", try_);
        }
        let ask = field.text(findings).map(GpuAsk::parse_share);
        gpu = take_gpu(&field, ask, findings).or(gpu);
    }
    if let Some(ask) = gpu {
        set_gpu(spec, ask);
    }
}

/// Takes what was asked for, or tells why it cannot be.
fn take_gpu(field: &Field<'_>, ask: Option<Result<GpuAsk, GpuAskError>>, findings: &mut Findings) -> Option<GpuAsk> {
    match ask? {
        Ok(ask) => Some(ask),
        Err(error) => {
            field.refuse(findings, error.what, error.try_);
            None
        }
    }
}

fn set_gpu(spec: &mut DeploymentSpec, ask: GpuAsk) {
    spec.resources.gpus = match &ask {
        GpuAsk::Whole { count, .. } => u64::from(*count),
        GpuAsk::None | GpuAsk::Memory { .. } | GpuAsk::Mig { .. } => 0,
    };
    spec.gpu = ask;
}
