//! What one instance needs: Azure's size names, Kubernetes' requests, and Berth's compact forms.

use berth_core::{
    error::nearest,
    model::{DeploymentSpec, GpuAsk, instance_type, instance_types},
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
    for name in ["gpu", "nvidia.com/gpu"] {
        if let Some(field) = fields.take(name)
            && let Some(ask) = read_gpu(&field, findings)
        {
            set_gpu(spec, ask);
        }
    }
    if let Some(field) = fields.take("gpu_memory")
        && let Some(text) = field.text(findings)
    {
        match parse_mib(text) {
            Ok(mib) => set_gpu(spec, GpuAsk::Memory { mib, model: None }),
            Err(error) => field.refuse(findings, error.to_string(), ""),
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

/// Reads `2`, `H100`, `H100:4`, `24GB..`, `A10:24GB..:2`, in any order of parts.
fn read_gpu(field: &Field<'_>, findings: &mut Findings) -> Option<GpuAsk> {
    let text = field.text(findings)?;
    let (mut count, mut model, mut memory_mib_min) = (None, None, None);
    for part in text.split(':').map(str::trim) {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let amount = part.trim_end_matches("..");
        let is_amount = amount.starts_with(|c: char| c.is_ascii_digit()) && amount.ends_with(['B', 'b', 'i', 'G', 'M']);
        let fits = if is_number {
            part.parse::<u32>().is_ok_and(|number| count.replace(number).is_none())
        } else if is_amount {
            parse_mib(amount).is_ok_and(|mib| memory_mib_min.replace(mib).is_none())
        } else {
            let is_word = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            is_word && !part.is_empty() && model.replace(part.to_owned()).is_none()
        };
        if !fits {
            field.refuse(
                findings,
                format!("`{}` is not a GPU request", clip(text)),
                "write `2`, `H100:4`, `24GB..` or `A10:24GB..:2`",
            );
            return None;
        }
    }
    let count = count.unwrap_or(1);
    if count == 0 {
        return Some(GpuAsk::None);
    }
    Some(GpuAsk::Whole { count, model, memory_mib_min: memory_mib_min.unwrap_or(0) })
}
