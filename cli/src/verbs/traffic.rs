//! `berth traffic` and `berth mirror`.

use std::{collections::BTreeMap, time::Duration};

use berth_client::api::{Endpoint, SetTrafficRequest, TrafficMap};
use berth_core::{
    error::{Code, Error},
    model::{DeploymentName, Traffic},
};

use super::{Context, endpoint};
use crate::{
    args::{MirrorArgs, MirrorVerb, TrafficArgs},
    output::{Fault, Misused, now_ms},
    view,
};

/// How long routers may take to route by what was set. They take milliseconds; a node that falls silent is lost, and not
/// waited for, within three seconds.
const ROUTED_WITHIN: Duration = Duration::from_secs(10);

/// Which shares are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Split,
    Mirror,
}

pub(super) async fn run(context: &Context, args: TrafficArgs, what: What) -> Result<(), Fault> {
    if args.shares.is_empty() {
        let endpoint = context.client.get_endpoint(&args.endpoint).await?;
        let shares = if what == What::Split { &endpoint.traffic } else { &endpoint.mirror_traffic };
        return Ok(context.out.value(shares, &args.endpoint, || match (what, shares.is_empty()) {
            (_, false) => context.out.line(view::shares(shares)),
            (What::Split, true) => context.out.line(format!(
                "{0} has no traffic; `berth traffic {0} DEPLOYMENT=100` gives a deployment all of it",
                args.endpoint
            )),
            (What::Mirror, true) => context.out.line(format!(
                "{0} has no mirrors; `berth mirror {0} DEPLOYMENT=10` copies a tenth of its requests",
                args.endpoint
            )),
        })?);
    }
    let shares = parse(&args.shares).or_misused()?;
    let (split, mirror) = match what {
        What::Split => (Some(shares), None),
        What::Mirror => (None, Some(shares)),
    };
    if split.as_ref().is_some_and(BTreeMap::is_empty) {
        context.out.aside(format!("requests to {} are refused until a deployment has traffic again", args.endpoint));
    }
    let changed = set(context, &args.endpoint, split, mirror, args.strict_azure).await?;
    endpoint::show(context, &changed)
}

/// `berth mirror`.
pub(super) async fn mirror(context: &Context, args: MirrorArgs) -> Result<(), Fault> {
    match (args.verb, args.set) {
        (Some(MirrorVerb::Report(of)), _) => {
            let report = context.client.mirror_report(&of.endpoint).await?;
            let out = &context.out;
            Ok(out.value(&report, &of.endpoint, || out.line(view::mirrors(&report, now_ms())))?)
        }
        (None, Some(shares)) => run(context, shares, What::Mirror).await,
        (None, None) => {
            let error = Error::new(Code::Invalid, "no endpoint is named");
            Err(Fault::misused(error.try_("berth mirror ENDPOINT, or berth mirror report ENDPOINT")))
        }
    }
}

/// Sets the split, the mirrors, or both, and waits until routers know.
pub(super) async fn set(
    context: &Context,
    endpoint: &str,
    split: Option<BTreeMap<String, u32>>,
    mirror: Option<BTreeMap<String, u32>>,
    strict_azure: bool,
) -> Result<Endpoint, Error> {
    let [split, mirror] = [split, mirror].map(|shares| shares.map(|percent| TrafficMap { percent }));
    let endpoint = endpoint.to_owned();
    let request = SetTrafficRequest { endpoint, split, mirror, strict_azure, ..Default::default() };
    let changed = context.client.put_traffic(request).await?;
    settle(context, &changed.name).await;
    Ok(changed)
}

/// Waits until a call through any node meets what was just set, so that who set it does not meet what was before. The
/// change is made either way: what cannot be waited for is told, and no error.
pub(super) async fn settle(context: &Context, endpoint: &str) {
    let told = match context.client.await_routers(endpoint, ROUTED_WITHIN).await {
        Ok(behind) if behind.is_empty() => return,
        Ok(behind) => {
            format!("not taken up after {} s by {}: they route as before", ROUTED_WITHIN.as_secs(), behind.join(", "))
        }
        Err(error) => format!("whether every node has taken it up is not known: {error}"),
    };
    context.out.aside(told);
}

/// Returns the shares as the API has them.
pub(super) fn plain(traffic: &Traffic) -> BTreeMap<String, u32> {
    traffic.0.iter().map(|(name, percent)| (name.to_string(), *percent)).collect()
}

/// Reads a flag that may be absent.
pub(crate) fn parse_flag(texts: &[String]) -> Result<Option<BTreeMap<String, u32>>, Error> {
    if texts.is_empty() { Ok(None) } else { parse(texts).map(Some) }
}

/// Reads `blue=90 green=10`, as several arguments or as one, with spaces or commas; `none` is no share at all.
fn parse(texts: &[String]) -> Result<BTreeMap<String, u32>, Error> {
    let refuse =
        |what: String| Error::new(Code::Invalid, what).try_("write shares such as `blue=90 green=10`, or `none`");
    let mut shares = BTreeMap::new();
    let pairs: Vec<_> =
        texts.iter().flat_map(|text| text.split([' ', ',', '\t', '\n'])).filter(|pair| !pair.is_empty()).collect();
    if pairs.is_empty() || pairs == ["none"] {
        return Ok(shares);
    }
    for pair in pairs {
        let (name, percent) = pair.split_once('=').ok_or_else(|| refuse(format!("`{pair}` is not a share")))?;
        let name = DeploymentName::new(name).map_err(|error| refuse(error.to_string()))?;
        let percent: u32 =
            percent.trim_end_matches('%').parse().map_err(|_| refuse(format!("`{percent}` is no percent")))?;
        if shares.insert(name.to_string(), percent).is_some() {
            return Err(refuse(format!("`{name}` is named twice")));
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_azure_writes_them() {
        let read = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            parse(&texts).ok().map(|shares| view::shares(&shares))
        };
        for (texts, expected) in [
            (vec!["blue=90", "green=10"], Some("blue=90 green=10")),
            (vec!["blue=90 green=10"], Some("blue=90 green=10")),
            (vec!["Blue=90,green=10%"], Some("blue=90 green=10")),
            (vec!["none"], Some("-")),
            (vec![""], Some("-")),
            (vec!["blue"], None),
            (vec!["blue=x"], None),
            (vec!["blue=-1"], None),
            (vec!["b=1"], None),
            (vec!["blue=1", "blue=2"], None),
        ] {
            assert_eq!(read(&texts).as_deref(), expected, "{texts:?}");
        }
    }
}
