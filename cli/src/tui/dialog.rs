//! What lies over a screen while it asks something: the line one types in, a question, the traffic editor.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::act::{Act, TrafficWish};

/// What lies over a screen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Dialog {
    /// The line one types in.
    Prompt(Prompt),
    /// A question that only `y` answers with yes.
    Confirm {
        question: Vec<String>,
        act: Act,
        /// The first line shown of a long one.
        top: usize,
    },
    Traffic(TrafficEdit),
}

/// The line one types in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) kind: PromptKind,
    pub(crate) text: String,
    /// How far back the arrows have gone in what was typed before.
    pub(crate) recalled: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PromptKind {
    /// After `:`.
    Command,
    /// After `/`.
    Filter,
    /// After `x`: the id of a request.
    Request,
    /// How many instances a deployment shall have.
    Scale { endpoint: String, deployment: String },
}

/// The split of an endpoint while it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrafficEdit {
    pub(crate) endpoint: String,
    pub(crate) before: BTreeMap<String, u32>,
    pub(crate) shares: Vec<(String, u32)>,
    pub(crate) at: usize,
    pub(crate) stage: Stage,
    /// The endpoint as it was when the editor opened: somebody else's change is not written over.
    pub(crate) revision: u64,
}

/// How far a change of the split is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Shares are moved.
    Moving,
    /// The coordinators are asked what it means.
    Asked,
    /// What it means is shown for a last look, from this line on.
    Planned(Vec<String>, usize),
}

/// What a key did to a dialog.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It stays.
    Stays,
    /// It closes without effect.
    Closed,
    /// It closes, and this is to be done.
    Done(Act),
    /// It stays until this is answered.
    Asks(Act),
    /// The text typed so far, while it is typed.
    Typing(String),
    /// What is typed so far is to be completed.
    Complete(String),
    /// What was typed before is wanted: the last is 1, and 0 is an empty line.
    Recall(usize),
    /// The text typed, with `enter`.
    Typed(PromptKind, String),
}

// === impl Dialog ===

impl Dialog {
    /// Takes a key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Answer {
        match self {
            Self::Prompt(prompt) => prompt.key(key),
            Self::Confirm { act, top, question } => match key.code {
                KeyCode::Char('y' | 'Y') => Answer::Done(act.clone()),
                KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Answer::Closed,
                code => {
                    scroll(top, question.len(), code);
                    Answer::Stays
                }
            },
            Self::Traffic(edit) => edit.key(key),
        }
    }
}

// === impl Prompt ===

impl Prompt {
    fn key(&mut self, key: KeyEvent) -> Answer {
        match key.code {
            KeyCode::Esc => return Answer::Closed,
            KeyCode::Enter => return Answer::Typed(self.kind.clone(), self.text.clone()),
            KeyCode::Backspace if self.text.is_empty() => return Answer::Closed,
            KeyCode::Backspace => {
                self.text.pop();
            }
            KeyCode::Tab | KeyCode::Right if self.kind == PromptKind::Command => {
                return Answer::Complete(self.text.clone());
            }
            KeyCode::Up if self.kind == PromptKind::Command => return Answer::Recall(self.recalled + 1),
            KeyCode::Down if self.kind == PromptKind::Command => {
                return Answer::Recall(self.recalled.saturating_sub(1));
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => self.text.clear(),
            KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                self.text.push(c);
            }
            _ => return Answer::Stays,
        }
        Answer::Typing(self.text.clone())
    }

    /// Returns the sign before the text.
    pub(crate) fn sign(&self) -> String {
        match &self.kind {
            PromptKind::Command => ":".to_owned(),
            PromptKind::Filter => "/".to_owned(),
            PromptKind::Request => "explain request: ".to_owned(),
            PromptKind::Scale { endpoint, deployment } => format!("instances of {endpoint}/{deployment}: "),
        }
    }
}

// === impl TrafficEdit ===

impl TrafficEdit {
    /// Opens the split of an endpoint over all of its deployments.
    pub(crate) fn open(
        endpoint: &str,
        before: &BTreeMap<String, u32>,
        deployments: impl Iterator<Item = String>,
        revision: u64,
    ) -> Self {
        let shares = deployments.map(|name| (name.clone(), before.get(&name).copied().unwrap_or(0))).collect();
        Self { endpoint: endpoint.to_owned(), before: before.clone(), shares, at: 0, stage: Stage::Moving, revision }
    }

    /// Takes what a split means, if it is the one that was asked for.
    pub(crate) fn take_plan(&mut self, plan: &[String], act: &Act) -> bool {
        let is_this = self.stage == Stage::Asked && *act == Act::SetTraffic(self.wish());
        if is_this {
            self.stage = Stage::Planned(plan.to_vec(), 0);
        }
        is_this
    }

    fn wish(&self) -> TrafficWish {
        TrafficWish {
            endpoint: self.endpoint.clone(),
            before: self.before.clone(),
            shares: self.shares.iter().cloned().collect(),
            revision: self.revision,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Answer {
        let step = if key.modifiers.contains(KeyModifiers::SHIFT) { 10 } else { 1 };
        match (&mut self.stage, key.code) {
            (Stage::Moving, _) => {}
            (_, KeyCode::Esc | KeyCode::Char('n')) => {
                self.stage = Stage::Moving;
                return Answer::Stays;
            }
            (Stage::Planned(..), KeyCode::Char('y')) => return Answer::Done(Act::SetTraffic(self.wish())),
            (Stage::Planned(plan, top), code) => {
                scroll(top, plan.len(), code);
                return Answer::Stays;
            }
            (Stage::Asked, _) => return Answer::Stays,
        }
        match key.code {
            KeyCode::Esc | KeyCode::Char('q') => return Answer::Closed,
            KeyCode::Enter if self.is_changed() => {
                self.stage = Stage::Asked;
                return Answer::Asks(Act::AskTraffic(self.wish()));
            }
            KeyCode::Up | KeyCode::Char('k') => self.at = self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.at = (self.at + 1).min(self.shares.len().saturating_sub(1)),
            KeyCode::Right | KeyCode::Char('l' | 'L' | '+') => shift(&mut self.shares, self.at, step),
            KeyCode::Left | KeyCode::Char('h' | 'H' | '-') => shift(&mut self.shares, self.at, -step),
            _ => {}
        }
        Answer::Stays
    }

    /// Returns whether the shares differ from those before.
    pub(crate) fn is_changed(&self) -> bool {
        self.shares.iter().any(|(name, share)| self.before.get(name).copied().unwrap_or(0) != *share)
    }
}

/// Moves the first line shown of a long text.
fn scroll(top: &mut usize, lines: usize, code: KeyCode) {
    match code {
        KeyCode::Down | KeyCode::PageDown | KeyCode::Char('j') => *top = (*top + 1).min(lines.saturating_sub(1)),
        KeyCode::Up | KeyCode::PageUp | KeyCode::Char('k') => *top = top.saturating_sub(1),
        _ => {}
    }
}

/// Moves percent to one share from the others, or from it to them; the total stays a hundred.
///
/// What one gains, the largest others give; what one loses goes to the first other, as a person who takes 10 % off
/// green means blue. A split of nothing becomes a hundred of one.
pub(crate) fn shift(shares: &mut [(String, u32)], at: usize, by: i32) {
    let total: u32 = shares.iter().map(|(_, share)| share).sum();
    let Some(own) = shares.get(at).map(|(_, share)| *share) else { return };
    if total == 0 {
        if by > 0 {
            shares[at].1 = 100;
        }
        return;
    }
    if by < 0 {
        let lost = own.min(by.unsigned_abs());
        if let Some(other) = (0..shares.len()).find(|other| *other != at) {
            shares[at].1 -= lost;
            shares[other].1 += lost;
        }
        return;
    }
    for _ in 0..by {
        let others = (0..shares.len()).filter(|other| *other != at && shares[*other].1 > 0);
        // The first of the largest: `max_by_key` would take the last.
        let Some(giver) = others.rev().max_by_key(|other| shares[*other].1) else { return };
        shares[giver].1 -= 1;
        shares[at].1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(shares: &[u32]) -> Vec<(String, u32)> {
        shares.iter().enumerate().map(|(at, share)| (format!("d{at}"), *share)).collect()
    }

    #[test]
    fn percent_move_where_a_person_means_them_to() {
        for (before, at, by, after) in [
            (&[90, 10][..], 1, 1, &[89, 11][..]),
            (&[90, 10], 1, 10, &[80, 20]),
            (&[90, 10], 1, -10, &[100, 0]),
            (&[90, 10], 1, -50, &[100, 0]),
            (&[5, 95], 1, 10, &[0, 100]),
            (&[0, 0], 1, 1, &[0, 100]),
            (&[0, 0], 1, -1, &[0, 0]),
            (&[100], 0, -10, &[100]),
            (&[50, 50, 0], 2, 3, &[48, 49, 3]),
        ] {
            let mut shares = split(before);
            shift(&mut shares, at, by);
            assert_eq!(shares, split(after), "{before:?} at {at} by {by}");
        }
    }

    proptest! {
        #[test]
        fn the_total_stays_a_hundred(cut in 0_u32..=100, moves in prop::collection::vec((0_usize..3, -20_i32..20), 0..40)) {
            let mut shares = split(&[cut, 100 - cut, 0]);
            for (at, by) in moves {
                shift(&mut shares, at, by);
                prop_assert_eq!(shares.iter().map(|(_, share)| share).sum::<u32>(), 100);
            }
        }
    }
}
