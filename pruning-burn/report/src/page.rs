//! The page: [`Page`].

use crate::PageError;
use crate::given::{Change, Given};
use crate::sections::{self, Made};
use crate::text;
use askama::Template;
use pruning_burn::analyze::sensitivity::Sensitivity;
use pruning_burn::pruner::LayerScores;
use pruning_burn::report::Report;
use pruning_burn::rounds::History;
use pruning_burn::shrink::{ChannelGroups, Difference, ShrinkPlan};
use pruning_burn::sparse::SparseReport;
use pruning_burn::store::{CompactReport, Save, StoreError, replace};
use pruning_burn::trace::Costs;
use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;

const STYLE: &str = include_str!("../templates/page.css");
const SCRIPT: &str = include_str!("../templates/page.js");

/// Bytes of a page, and what is around its sections.
const BYTES: usize = 1_000_000;
const AROUND: usize = 20_000;

/// The title where none is given.
const TITLE: &str = "Pruning report";

/// A page of what a pruning did, which has a section for each thing that it is given.
///
/// The [crate](crate) has an example. It holds references until [`html`](Self::html) or [`save`](Self::save) makes the page.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Page<'a> {
    given: Given<'a>,
}

impl<'a> Page<'a> {
    /// Creates a page that has nothing but a title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { given: Given { title: Some(title.into()), ..Given::default() } }
    }

    /// Sets the report of a pruning: what was asked and achieved, its layers, what it left out, and its warnings.
    pub fn with_report(mut self, report: &'a Report) -> Self {
        self.given.report = Some(Cow::Borrowed(report));
        self
    }

    /// Adds a number of your own to the summary, such as a test error.
    pub fn with_fact(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.given.facts.push((name.into(), value.to_string()));
        self
    }

    /// Sets the name of what was evaluated in rounds and scans, such as `test error, %`.
    pub fn with_measure(mut self, name: impl Into<String>) -> Self {
        self.given.measure = Some(name.into());
        self
    }

    /// Sets the scores of [`Pruner::scores`](pruning_burn::Pruner::scores), from before the pruning.
    ///
    /// With a report of single weights, the page shows which scores stay, and the threshold.
    pub fn with_scores(mut self, scores: &'a [LayerScores]) -> Self {
        self.given.scores = Some(Cow::Borrowed(scores));
        self
    }

    /// Sets the plan of a smaller model: its groups, its sizes, and its costs.
    pub fn with_plan(mut self, plan: &'a ShrinkPlan) -> Self {
        self.given.plan = Some(Cow::Borrowed(plan));
        self
    }

    /// Sets the coupled groups of [`Trace::groups`](pruning_burn::trace::Trace::groups), which tell what must stay, and why.
    pub fn with_groups(mut self, groups: &'a ChannelGroups) -> Self {
        self.given.groups = Some(Cow::Borrowed(groups));
        self
    }

    /// Sets the costs of the model before and after, by [`Trace::costs`](pruning_burn::trace::Trace::costs).
    pub fn with_costs(mut self, before: &'a Costs, after: &'a Costs) -> Self {
        self.given.costs = Some(Change { before: Cow::Borrowed(before), after: Cow::Borrowed(after) });
        self
    }

    /// Sets the result of a scan of sensitivities.
    pub fn with_sensitivity(mut self, found: &'a Sensitivity) -> Self {
        self.given.sensitivity = Some(Cow::Borrowed(found));
        self
    }

    /// Sets the rounds of training and pruning.
    pub fn with_rounds(mut self, history: &'a History) -> Self {
        self.given.rounds = Some(Cow::Borrowed(history));
        self
    }

    /// Sets the difference between the masked and the smaller model.
    pub fn with_verify(mut self, difference: Difference) -> Self {
        self.given.verify = Some(difference);
        self
    }

    /// Sets the report of a compact file.
    pub fn with_compact(mut self, report: &'a CompactReport) -> Self {
        self.given.compact = Some(Cow::Borrowed(report));
        self
    }

    /// Sets the report of a model that runs with sparse weights.
    pub fn with_sparse(mut self, report: &'a SparseReport) -> Self {
        self.given.sparse = Some(Cow::Borrowed(report));
        self
    }

    /// Returns the page as HTML of less than 1,000,000 bytes.
    #[must_use]
    pub fn html(&self) -> String {
        let room = BYTES - AROUND - STYLE.len() - SCRIPT.len();
        let title = text::cut(self.given.title.as_deref().unwrap_or(TITLE));
        let sections = sections::all(&self.given, room);
        let page = Html { title: &title, style: STYLE, script: SCRIPT, sections: &sections };
        // A template fails if a value cannot be written as text, and all of these are text.
        page.render().unwrap_or_default()
    }

    /// Writes the page to a file, which replaces an old one once it is complete and on the disk.
    ///
    /// If the name of the file ends in `.json`, it gets what [`to_json`](Self::to_json) returns instead.
    ///
    /// # Errors
    /// The file cannot be written, and is as it was.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<(), PageError> {
        let file = file.as_ref();
        let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let text = if json { self.to_json()? } else { self.html() };
        Ok(replace(file, |to| to.write_all(text.as_bytes()))?)
    }

    /// Returns what the page was given as JSON, which [`from_json`](Self::from_json) reads.
    ///
    /// # Errors
    /// A value has no form in JSON.
    pub fn to_json(&self) -> Result<String, PageError> {
        serde_json::to_string(&self.given).map_err(|error| PageError::Form { reason: error.to_string() })
    }
}

impl Page<'static> {
    /// Reads a page from JSON: a report as serde writes it, or an object of sections, each of which may be absent. Other keys are left
    /// alone, so what `burn-prune prune --json` and `burn-prune compact --json` print is read too.
    ///
    /// | key | value |
    /// |---|---|
    /// | `title`, `measure` | texts |
    /// | `facts` | a list of `[name, text]` |
    /// | `report` | [`Report`] |
    /// | `scores` | a list of [`LayerScores`] |
    /// | `plan`, `groups` | [`ShrinkPlan`], [`ChannelGroups`] |
    /// | `costs` | an object of `before` and `after`, each [`Costs`] |
    /// | `sensitivity`, `rounds` | [`Sensitivity`], [`History`] |
    /// | `verify`, `compact`, `sparse` | [`Difference`], [`CompactReport`], [`SparseReport`] |
    ///
    /// ```
    /// use pruning_report::Page;
    /// let file = r#"{ "title": "A file", "compact": { "tensors": [], "file": 120 }, "facts": [["test error", "1.4 %"]] }"#;
    /// assert!(Page::from_json(file)?.html().contains("120 B"));
    /// assert!(Page::from_json("{}").is_err() && Page::from_json(r#"{ "raport": {} }"#).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The text is neither, holds nothing to show, or has numbers that contradict each other. JSON has no NaN and no infinities, and a
    /// `null` in their place is an error.
    pub fn from_json(text: &str) -> Result<Self, PageError> {
        Given::from_json(text).map(|given| Self { given })
    }
}

/// As everything else that is saved: `save(&page, file)`.
impl Save for &Page<'_> {
    type Report = ();

    fn save_to(self, file: &Path) -> Result<(), StoreError> {
        self.save(file).map_err(|error| match error {
            PageError::Store(error) => error,
            other => StoreError::Write { file: file.display().to_string(), reason: other.to_string() },
        })
    }
}

/// Something that makes a page by itself.
///
/// ```
/// use pruning_burn::report::Report;
/// use pruning_report::ToHtml;
/// assert!(Report::default().html().starts_with("<!DOCTYPE html>"));
/// ```
pub trait ToHtml {
    /// Returns the page as HTML of less than 1,000,000 bytes.
    #[must_use]
    fn html(&self) -> String;
}

impl ToHtml for Report {
    fn html(&self) -> String {
        Page::new(TITLE).with_report(self).html()
    }
}

impl ToHtml for History {
    /// Shows the rounds, and the layers after the last one.
    fn html(&self) -> String {
        let page = Page::new("Rounds of pruning").with_rounds(self);
        match self.rounds.last() {
            Some(last) => page.with_report(&last.pruning).html(),
            None => page.html(),
        }
    }
}

impl ToHtml for Sensitivity {
    fn html(&self) -> String {
        Page::new("Sensitivity of each layer").with_sensitivity(self).html()
    }
}

impl ToHtml for ShrinkPlan {
    fn html(&self) -> String {
        Page::new("Plan of a smaller model").with_plan(self).html()
    }
}

#[derive(Template)]
#[template(path = "page.html")]
struct Html<'a> {
    title: &'a str,
    style: &'a str,
    script: &'a str,
    sections: &'a [Made],
}
