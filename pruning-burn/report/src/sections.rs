//! The sections of the page, each from the data that it shows.

mod compact;
mod costs;
mod groups;
mod layers;
mod left_out;
mod rounds;
mod scores;
mod sensitivity;
mod sparse;
mod summary;

use crate::given::Given;
use crate::parts::Section;
use askama::Template;

/// Bytes of a table other than that of the layers.
const TABLE: usize = 30_000;

/// A section that is done.
pub(crate) struct Made {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) html: String,
}

impl From<Section> for Made {
    fn from(section: Section) -> Self {
        Self { id: section.id, title: section.title, html: section.render().unwrap_or_default() }
    }
}

/// Makes all sections that there is data for, in at most about `bytes`.
pub(crate) fn all(given: &Given<'_>, bytes: usize) -> Vec<Made> {
    let measure = given.measure.as_deref().unwrap_or("evaluation");
    let first = summary::section(given);
    let rest = [
        given.scores.as_deref().map(|scores| scores::section(scores, given.report.as_deref())),
        groups::section(given.plan.as_deref(), given.groups.as_deref()),
        costs::section(given.plan.as_deref(), given.costs.as_ref()),
        given.sensitivity.as_deref().map(|found| sensitivity::section(found, measure)),
        given.rounds.as_deref().map(|history| rounds::section(history, measure)),
        given.compact.as_deref().map(compact::section),
        given.sparse.as_deref().map(sparse::section),
        given.report.as_deref().and_then(left_out::section),
    ];
    let mut made: Vec<_> = first.into_iter().map(Made::from).collect();
    let rest: Vec<_> = rest.into_iter().flatten().map(Made::from).collect();
    let used: usize = made.iter().chain(&rest).map(|section| section.html.len()).sum();
    // The layers get the room that is left.
    let layers = given.report.as_deref().and_then(|report| layers::section(report, bytes.saturating_sub(used)));
    made.extend(layers.map(Made::from));
    made.extend(rest);
    made
}
