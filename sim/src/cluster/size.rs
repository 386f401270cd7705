//! The search for the smallest fleet that will do.

use berth_core::error::Error;

use super::{Count, Description, Sizing, trial};

/// Finds the smallest number of nodes of the counted shape with which the whole day fits, or says what does not.
///
/// More nodes are taken to be never worse. The answer and the fleet one smaller are both played through.
pub fn size(description: &Description) -> Result<Sizing, Error> {
    let fixed = description.shapes.iter().map(|shape| match shape.count {
        Count::Fixed(count) => count,
        Count::Auto { .. } => 0,
    });
    let fixed: u64 = fixed.sum();
    let mut sizing = Sizing { survive: description.survive.word().to_owned(), ..Sizing::default() };
    let Some((shape, max)) = description.auto() else {
        let trial = trial::run(description, 0)?;
        (sizing.fits, sizing.nodes, sizing.trials) = (trial.shortfall.is_none(), fixed, 1);
        (sizing.shortfall, sizing.samples) = (trial.shortfall, trial.samples);
        return Ok(sizing);
    };
    sizing.shape = format!("`{}`", shape.node.prefix);
    sizing.max = Some(max);
    // The smallest that is known to do, and the largest that is known not to; below nothing is nothing.
    let mut enough: Option<(u64, trial::Trial)> = None;
    let mut too_few: Option<(u64, trial::Trial)> = None;
    let mut next = 1.min(max);
    loop {
        let trial = trial::run(description, next)?;
        sizing.trials += 1;
        match trial.shortfall {
            None => enough = Some((next, trial)),
            Some(_) => too_few = Some((next, trial)),
        }
        let below = too_few.as_ref().map_or(0, |(count, _)| *count);
        next = match &enough {
            // Doubling first: a fleet of ten should not be looked for among ten thousand.
            None if below >= max => break,
            None => (below * 2).min(max),
            Some((count, _)) if *count <= below + 1 => break,
            Some((count, _)) => below + (*count - below) / 2,
        };
    }
    sizing.shortfall = too_few.as_ref().and_then(|(_, trial)| trial.shortfall.clone());
    match enough {
        Some((count, trial)) => {
            (sizing.fits, sizing.count, sizing.nodes) = (true, Some(count), fixed + count);
            sizing.samples = trial.samples;
        }
        None => {
            sizing.nodes = fixed + max;
            sizing.samples = too_few.map(|(_, trial)| trial.samples).unwrap_or_default();
        }
    }
    Ok(sizing)
}
