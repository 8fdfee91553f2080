//! What a page is given, as data: [`Given`].

use crate::PageError;
use pruning_burn::analyze::sensitivity::Sensitivity;
use pruning_burn::pruner::LayerScores;
use pruning_burn::report::Report;
use pruning_burn::rounds::History;
use pruning_burn::shown;
use pruning_burn::shrink::{ChannelGroups, Difference, ShrinkPlan};
use pruning_burn::sparse::SparseReport;
use pruning_burn::store::CompactReport;
use pruning_burn::trace::Costs;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The sections of a page; each is optional. This is also their JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Given<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<Cow<'a, Report>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scores: Option<Cow<'a, [LayerScores]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<Cow<'a, ShrinkPlan>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) groups: Option<Cow<'a, ChannelGroups>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) costs: Option<Change<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sensitivity: Option<Cow<'a, Sensitivity>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rounds: Option<Cow<'a, History>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<Difference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compact: Option<Cow<'a, CompactReport>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sparse: Option<Cow<'a, SparseReport>>,
}

/// The costs of a model before and after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Change<'a> {
    pub(crate) before: Cow<'a, Costs>,
    pub(crate) after: Cow<'a, Costs>,
}

/// The keys of the sections.
const KEYS: [&str; 11] =
    ["facts", "report", "scores", "plan", "groups", "costs", "sensitivity", "rounds", "verify", "compact", "sparse"];

impl Given<'static> {
    /// Reads a report, an object of sections, or what `burn-prune --json` prints.
    pub(crate) fn from_json(text: &str) -> Result<Self, PageError> {
        /// What tells the forms apart: a report has layers at its top, and that of a compact file has tensors.
        #[derive(Deserialize)]
        struct Top {
            layers: Option<IgnoredAny>,
            tensors: Option<IgnoredAny>,
            report: Option<Box<Top>>,
        }
        #[derive(Deserialize)]
        struct Compacted {
            report: CompactReport,
        }
        fn read<T: DeserializeOwned>(text: &str) -> Result<T, PageError> {
            serde_json::from_str(text).map_err(|error| PageError::Form { reason: shown::text(error) })
        }
        let top: Top = read(text)?;
        let given = if top.layers.is_some() {
            Given { report: Some(Cow::Owned(read(text)?)), ..Given::default() }
        } else if top.report.is_some_and(|report| report.tensors.is_some()) {
            let Compacted { report } = read(text)?;
            Given { compact: Some(Cow::Owned(report)), ..Given::default() }
        } else {
            read(text)?
        };
        given.check().map(|()| given)
    }

    /// Checks what programs ensure and a file does not.
    fn check(&self) -> Result<(), PageError> {
        let Self { title: _, facts, measure: _, report, scores, plan, groups, costs, sensitivity, rounds, .. } = self;
        let (verify, compact, sparse) = (&self.verify, &self.compact, &self.sparse);
        let some = [report.is_some(), scores.is_some(), plan.is_some(), groups.is_some(), costs.is_some()];
        let more = [sensitivity.is_some(), rounds.is_some(), verify.is_some(), compact.is_some(), sparse.is_some()];
        if facts.is_empty() && !some.into_iter().chain(more).any(|given| given) {
            return Err(PageError::Nothing { keys: KEYS.to_vec() });
        }
        let reports = rounds.iter().flat_map(|history| &history.rounds).map(|round| &round.pruning);
        report.as_deref().into_iter().chain(reports).try_for_each(check_report)?;
        if let Some(plan) = plan {
            plan.check().map_err(|error| numbers("plan", error))?;
        }
        if let Some(costs) = costs {
            let macs = |costs: &Costs| summed("costs", costs.operations.iter().map(|o| o.macs));
            macs(&costs.before).and(macs(&costs.after))?;
        }
        compact.as_ref().map_or(Ok(()), |report| summed("compact", report.tensors.iter().map(|t| t.dense)))
    }
}

fn check_report(report: &Report) -> Result<(), PageError> {
    let all = || report.layers.iter().chain(&report.followers);
    for layer in all() {
        if layer.kept > layer.weights || layer.kept_units > layer.units {
            return Err(numbers(&layer.path, "more is kept than there is"));
        }
    }
    summed("report", all().map(|l| l.weights as u64))?;
    summed("report", all().map(|l| l.units as u64))
}

/// An error if numbers have no sum.
fn summed(path: &str, mut all: impl Iterator<Item = u64>) -> Result<(), PageError> {
    match all.try_fold(0u64, u64::checked_add) {
        Some(_) => Ok(()),
        None => Err(numbers(path, "the sum of its numbers is too large to be counted")),
    }
}

fn numbers(path: &str, reason: impl std::fmt::Display) -> PageError {
    PageError::Numbers { path: shown::name(path), reason: shown::text(reason) }
}
