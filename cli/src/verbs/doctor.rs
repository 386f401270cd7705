//! `berth doctor`.

use berth_core::error::{Code, Error};
use berth_node::{
    doctor::{DoctorOptions, Finding, Verdict, examine},
    mesh::PeerFiles,
};

use crate::{
    args::{DoctorArgs, tls_files},
    config::{self, Layer},
    output::{Fault, Ink, Misused as _, Output},
};

pub(super) async fn run(args: DoctorArgs, out: &Output) -> Result<(), Fault> {
    // All or none, as the arguments require.
    let tls = tls_files(args.tls_cert, args.tls_key).ok().flatten();
    let own = tls_files(args.peer_cert, args.peer_key).ok().flatten();
    let peers = own.zip(args.peer_ca).map(|(own, ca)| PeerFiles { own, ca });
    let given = [("ingress", args.ingress), ("gate", args.gate), ("metrics", args.metrics)];
    let flags = given.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let ports = config::ports(Layer::flags(flags), args.config.as_deref()).or_misused()?;
    let coordinator = config::coordinator_tls(args.config.as_deref()).or_misused()?;
    let options = DoctorOptions {
        data_dir: args.data_dir,
        python: args.python,
        nvml_library: args.nvml_lib,
        tls,
        coordinator,
        peers,
        token: args.token_file,
        ports,
    };
    let findings = tokio::task::spawn_blocking(move || examine(&options))
        .await
        .map_err(|error| Error::new(Code::Internal, "looking at this host broke off").why(error.to_string()))?;
    out.value(&findings, "doctor", || findings.iter().for_each(|finding| tell(finding, out)))?;
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    match bad {
        0 => Ok(()),
        _ => Err(Error::new(Code::Invalid, format!("{bad} of {} findings will not work", findings.len())).into()),
    }
}

fn tell(finding: &Finding, out: &Output) {
    let (mark, ink) = match finding.verdict {
        Verdict::Good => ("✓", Ink::Green),
        Verdict::Note => ("‼", Ink::Yellow),
        Verdict::Bad => ("×", Ink::Red),
    };
    out.line(format!("{} {:7} {}", out.paint(mark, ink), finding.about, finding.text));
    if !finding.try_.is_empty() {
        out.line(format!("  {:7} try: {}", "", finding.try_));
    }
    if finding.verdict != Verdict::Good {
        out.line(format!("  {:7} see: {}", "", finding.docs));
    }
}
