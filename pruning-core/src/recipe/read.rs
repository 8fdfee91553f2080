//! Reading the tables of a recipe into a draft, which checks syntax and types but no values.

use crate::plugin::{PluginKind, Plugins};
use crate::recipe::draft::{Found, GrowDraft, OverrideDraft, RecipeDraft, ScheduleDraft};
use crate::recipe::fields::Fields;
use crate::recipe::problem::Problems;
use crate::sparsity::SparsityForm;
use serde_json::{Value, json};

pub(super) fn read<K: PluginKind + ?Sized>(value: Value, plugins: &Plugins) -> RecipeDraft<K> {
    let mut draft = RecipeDraft::default();
    let mut problems = Problems::default();
    let mut top = Fields::new("", value, &mut problems);
    draft.sparsity = fraction(&mut top, "sparsity");
    draft.count = top.take("count");
    draft.criterion = plugin(&mut top, "criterion", plugins);
    draft.granularity = top.take("granularity");
    draft.compare = top.take("compare").unwrap_or_default();
    draft.allocator = plugin(&mut top, "allocator", plugins);
    draft.reduction = top.take("reduction");
    draft.channel_score = top.take("channel_score");
    draft.rounding = top.take("rounding").unwrap_or_default();
    draft.skip_unfit = top.take("skip_unfit").unwrap_or_default();
    draft.allow_empty = top.take("allow_empty").unwrap_or_default();
    draft.reconstruct = plugin(&mut top, "reconstruct", plugins);
    draft.sequential = top.take("sequential").unwrap_or_default();
    draft.initialization = top.take("initialization").unwrap_or_default();
    draft.schedule = schedule(&mut top, plugins).unwrap_or_default();
    if let Some(value) = top.raw("target") {
        let mut fields = Fields::new("target", value, top.problems());
        draft.exclude = fields.take("exclude").unwrap_or_default();
        draft.include = fields.take("include");
        fields.finish();
    }
    draft.overrides = overrides(&mut top);
    draft.grow = top.raw("grow").map(|value| grow(value, top.problems(), plugins));
    top.finish();
    draft.problems = problems;
    draft
}

fn fraction(fields: &mut Fields<'_>, field: &'static str) -> Option<f64> {
    fields.take::<SparsityForm>(field).map(|form| form.value())
}

fn plugin<K: PluginKind + ?Sized>(fields: &mut Fields<'_>, field: &'static str, plugins: &Plugins) -> Option<Found<K>> {
    fields.raw(field).map(|value| plugins.read(value))
}

/// Returns a table, or makes one from its most important field.
fn table(value: Value, key: &str) -> Value {
    if value.is_string() { json!({ key: value }) } else { value }
}

fn schedule(top: &mut Fields<'_>, plugins: &Plugins) -> Option<ScheduleDraft> {
    let value = table(top.raw("schedule")?, "kind");
    let mut fields = Fields::new("schedule", value, top.problems());
    let kind: Option<String> = fields.take("kind");
    let schedule = match kind.as_deref() {
        Some("one_shot") => ScheduleDraft::OneShot { at: fields.take("at").unwrap_or(0) },
        Some("iterative") => ScheduleDraft::Iterative {
            begin: fields.take("begin").unwrap_or(0),
            every: fields.take("every").unwrap_or(1),
            rounds: fields.take("rounds"),
            fraction: fraction(&mut fields, "fraction"),
        },
        Some("gradual") => ScheduleDraft::Gradual {
            begin: fields.take("begin").unwrap_or(0),
            every: fields.take("every").unwrap_or(1),
            end: fields.take("end"),
            initial: fraction(&mut fields, "initial").unwrap_or(0.0),
            curve: plugin(&mut fields, "curve", plugins),
        },
        _ => {
            let given = kind.map(|kind| format!("{kind:?}: ")).unwrap_or_default();
            fields.problem("kind", format!("{given}expected \"one_shot\", \"iterative\" or \"gradual\""));
            return None;
        }
    };
    fields.finish();
    Some(schedule)
}

fn overrides(top: &mut Fields<'_>) -> Vec<OverrideDraft> {
    let list = match top.raw("override") {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            top.problem("override", format!("expected a list of tables ([[override]]), not {other}"));
            return Vec::new();
        }
    };
    let mut each = |(i, value)| {
        let mut fields = Fields::new(format!("override.{i}"), value, top.problems());
        let target = fields.take("target");
        let draft = OverrideDraft {
            target,
            sparsity: fraction(&mut fields, "sparsity"),
            granularity: fields.take("granularity"),
        };
        fields.finish();
        draft
    };
    list.into_iter().enumerate().map(&mut each).collect()
}

fn grow<K: PluginKind + ?Sized>(value: Value, problems: &mut Problems, plugins: &Plugins) -> GrowDraft<K> {
    let mut fields = Fields::new("grow", table(value, "criterion"), problems);
    let default = GrowDraft::<K>::default();
    let draft = GrowDraft {
        criterion: plugin(&mut fields, "criterion", plugins),
        fraction: fields.take("fraction").unwrap_or(default.fraction),
        anneal: fields.take("anneal").unwrap_or_default(),
        every: fields.take("every").unwrap_or(default.every),
        end: fields.take("end"),
    };
    fields.finish();
    draft
}
