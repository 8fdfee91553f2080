//! Parameters and multiply-accumulates, before and after.

use super::TABLE;
use crate::given::Change;
use crate::parts::{Cell, Column, Part, Section, Table};
use crate::text::{self, count, percent};
use pruning_burn::shrink::{ShrinkPlan, Totals};
use pruning_burn::trace::{Costs, OperationCost};

pub(super) fn section(plan: Option<&ShrinkPlan>, costs: Option<&Change<'_>>) -> Option<Section> {
    let totals = |costs: &Costs| Totals::new(costs.parameters, costs.macs());
    let (before, after, batch) = match (costs, plan) {
        (Some(costs), _) => (totals(&costs.before), totals(&costs.after), costs.before.batch),
        (None, Some(plan)) => (plan.before, plan.after, plan.batch),
        (None, None) => return None,
    };
    let mut rows = vec![row("Parameters", before.parameters, after.parameters)];
    rows.push(row("Multiply-accumulates", before.macs, after.macs));
    if let Some(batch) = batch.filter(|batch| *batch > 1)
        && let (Some(before), Some(after)) = (before.macs_of_one(batch), after.macs_of_one(batch))
    {
        rows.push(row(&format!("Of one of the {} samples", count(batch)), before, after));
    }
    if let Some(costs) = costs {
        rows.push(row("Entries of all results", costs.before.activations, costs.after.activations));
    }
    let head = |what: &str| {
        let numbers = ["Before", "After", "Left"].map(Column::number);
        [Column::text(what)].into_iter().chain(numbers).collect::<Vec<_>>()
    };
    let caption = "The model before and after, for the recorded inputs.";
    let mut parts = vec![Part::Table(Table::new(caption, head("Cost")).with_rows(rows, TABLE))];
    if let Some(costs) = costs {
        let (before, after) = (&costs.before.operations, &costs.after.operations);
        // The smaller model runs the same products in the same order.
        let same = before.len() == after.len() && before.iter().zip(after).all(|(b, a)| b.weight == a.weight);
        let rows: Vec<_> = if same {
            before.iter().zip(after).map(|(b, a)| row(&name(b), b.macs, a.macs)).collect()
        } else {
            let cells = |o: &OperationCost| vec![Cell::Name(name(o)), Cell::count(o.macs)];
            before.iter().map(|o| (o.macs as f64, cells(o))).collect()
        };
        let columns = if same { head("Product") } else { head("Product").into_iter().take(2).collect() };
        let caption = "Multiply-accumulates of each matrix product and convolution, in the order in which they run.";
        parts.push(Part::Table(Table::new(caption, columns).with_rows(rows, TABLE)));
    }
    Some(Section { id: "costs", title: "Costs", parts })
}

fn name(operation: &OperationCost) -> String {
    match operation.weight.as_str() {
        "" => text::name(&operation.operation),
        weight => format!("{} ({})", text::name(weight), text::name(&operation.operation)),
    }
}

fn row(name: &str, before: u64, after: u64) -> (f64, Vec<Cell>) {
    let left = after as f64 / before.max(1) as f64;
    let cells = [Cell::count(before), Cell::count(after), Cell::Part(left.clamp(0.0, 1.0), percent(left))];
    (before as f64, [Cell::Name(name.to_string())].into_iter().chain(cells).collect())
}
