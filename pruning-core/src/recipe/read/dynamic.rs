//! Reading the table of dynamic sparse training.

use crate::plugin::{PluginKind, Plugins};
use crate::recipe::fields::Fields;
use crate::recipe::read::plugin;
use crate::schedule::Grow;
use serde_json::{Value, json};

/// The table `grow`; the last pruning is at step `pruned`, if the schedule says so.
pub(super) fn grow<K: PluginKind + ?Sized>(
    top: &mut Fields<'_>,
    pruned: Option<usize>,
    elementwise: bool,
    plugins: &Plugins,
) -> Option<Grow<K>> {
    let value = match top.raw("grow")? {
        Value::String(name) => json!({ "criterion": name }),
        value => value,
    };
    if !elementwise {
        top.problem("grow", "single weights come back: it goes with granularity = \"element\" alone");
    }
    let mut fields = Fields::new("grow", value, top.problems());
    let criterion = plugin::<K>(&mut fields, "criterion", plugins, None);
    let fraction = fields.take("fraction").unwrap_or(0.3);
    // NaN is outside too, which the text of a recipe writes as "nan".
    if !(fraction > 0.0 && fraction <= 1.0) {
        fields.problem(
            "fraction",
            format!("{fraction}: outside (0, 1], the fraction of the kept weights that is swapped"),
        );
    }
    let anneal = fields.take("anneal").unwrap_or_default();
    let every = match fields.take("every") {
        Some(0) => {
            fields.problem("every", "0: at least 1 step lies between two updates");
            1
        }
        every => every.unwrap_or(100),
    };
    let end: Option<usize> = fields.take("end");
    match (end, pruned) {
        (None, _) => fields.problem("", "needs `end`, the step before which all updates come"),
        (Some(end), Some(pruned)) if end <= pruned => {
            fields.problem("end", format!("{end}: updates follow the last pruning, at step {pruned}"));
        }
        (Some(end), Some(pruned)) if end - pruned <= every => fields.problem(
            "end",
            format!("{end}: no update is due: the first one is {every} steps after the last pruning, at step {pruned}"),
        ),
        _ => {}
    }
    fields.finish();
    Some(Grow { criterion: criterion?, fraction, anneal, every, end: end? })
}
