//! What each round of training and pruning came to.

use super::TABLE;
use crate::parts::{Cell, Column, Part, Plot, Section, Table};
use crate::plot::{Axis, GRAY, Shape, along, draw};
use crate::text::{self, number, percent, times};
use pruning_burn::rounds::{History, RoundReport};

pub(super) fn section(history: &History, measure: &str) -> Section {
    let measure = text::cut(measure);
    let rounds = &history.rounds;
    let x = Axis::of_sparsities(rounds.iter().map(RoundReport::sparsity));
    let y = Axis::of(rounds.iter().map(|round| round.evaluation));
    // More dots than that lie on each other.
    let every = rounds.len().div_ceil(200).max(1);
    let line = rounds.iter().step_by(every).map(|round| (along(round.sparsity()), round.evaluation)).collect();
    let dense = rounds.iter().find(|round| round.number == 0).map(|round| Shape::Level(GRAY, round.evaluation));
    let mut legend = vec![(0, measure.clone())];
    legend.extend(dense.is_some().then(|| (GRAY, "before the first pruning".to_string())));
    let shapes: Vec<_> = dense.into_iter().chain([Shape::Dots(0, line)]).collect();
    let plot = Plot {
        caption: format!("{measure} after each round, by the sparsity of the pruned layers"),
        svg: draw((680, 300), (&x, &y), &shapes),
        legend,
        small: false,
    };
    let columns = vec![
        Column::text("Round"),
        Column::number("Weights kept"),
        Column::number("Sparsity"),
        Column::number("Compression"),
        Column::number(measure),
        Column::number("Seconds"),
    ];
    let rows = rounds.iter().map(|round| {
        let numbers = [
            Cell::count(round.pruning.kept()),
            Cell::Number(percent(round.sparsity())),
            Cell::Number(times(round.pruning.compression())),
            Cell::Number(number(round.evaluation)),
            Cell::Number(number(round.seconds)),
        ];
        (0.0, [Cell::Name(round.number.to_string())].into_iter().chain(numbers).collect())
    });
    let caption = "Round 0 is the training before the first pruning.";
    let table = Table::new(caption, columns).with_rows(rows.collect(), TABLE);
    let plots = if rounds.is_empty() { vec![] } else { vec![Part::Plots(vec![plot])] };
    let parts = plots.into_iter().chain([Part::Table(table)]).collect();
    Section { id: "rounds", title: "Rounds", parts }
}
